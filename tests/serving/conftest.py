"""A real store written through the real pipeline and commit; only the vectors and the scorer are simple."""

import io
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from PIL import Image
from starlette.types import ASGIApp

from neardup_platform.matching import Matching
from neardup_platform.records import Embedding, JoinedImage, Kind
from neardup_platform.scoring.threshold_table import StratumThresholds, ThresholdStep, ThresholdTable
from neardup_platform.serving.app import build_app
from neardup_platform.serving.connections import BoundedConfig
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import ApiSettings, Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.control.outcome import Done
from neardup_platform.supervise.heartbeat import Heartbeat, Phase, write_heartbeat
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.opening import open_index
from neardup_platform.testing import (
    LSH_DIM,
    MODELS,
    PAIR_DIM,
    CosineScorer,
    InMemoryWorker,
    eventually,
    small_term_space,
)

MATCHING = Matching(max_candidates=100, min_overlap=1, threshold=0.9, head_threshold=0.8)
SHIPPED, PROMOTED_THRESHOLD = "cosine-1", 0.97
_ALIKE = StratumThresholds(0.9, 0.8, 1.0, 0.5, 2.0, 0.99, 0.9)
# Tells undistinctive images from others; `MATCHING` has no table, so their thresholds are the same.
_TABLE = ThresholdTable(None, (ThresholdStep(0, _ALIKE, _ALIKE),))


def scorer(version: str = SHIPPED) -> CosineScorer:
    threshold = MATCHING.threshold if version == SHIPPED else PROMOTED_THRESHOLD
    return CosineScorer(version, threshold, MATCHING.head_threshold, threshold_table=_TABLE)


def picture_of(image_id: str) -> bytes:
    """A PNG of which the embedder reads an image's id."""
    content = io.BytesIO()
    Image.fromarray(np.frombuffer(image_id.encode("latin-1"), np.uint8)[None]).save(content, "PNG")
    return content.getvalue()


def models(settings: Settings) -> Models:
    space = small_term_space()

    def follow_index(source: str, known: TermIndex | None) -> TermIndex:
        return open_index(settings.index_path, space, settings.terms, source, writable=False, known=known)

    def embed(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return vectors_of(bytes(pixels[0, :, 0]).decode("latin-1"))

    def promoted(version: str) -> tuple[CosineScorer, Matching]:
        classifier = scorer(version)
        return classifier, replace(MATCHING, threshold=classifier.threshold)

    return Models(space, scorer(), MODELS, MATCHING, embed, 1, follow_index, settings.vectors_path, promoted)


def vectors_of(image_id: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors that differ little between ids that differ only after the last `~`."""
    group = np.random.default_rng(list(image_id.rpartition("~")[0].encode() or image_id.encode()))
    own = np.random.default_rng(list(image_id.encode()))
    lsh, pair = group.standard_normal(LSH_DIM), group.standard_normal(PAIR_DIM)
    return (
        (lsh + 0.08 * own.standard_normal(LSH_DIM)).astype(np.float32),
        (pair + 0.08 * own.standard_normal(PAIR_DIM)).astype(np.float32),
    )


def joined(image_id: str, now_ms: int, uri: str = "") -> JoinedImage:
    """An image with the vectors of its id."""
    lsh, pair = vectors_of(image_id)
    return JoinedImage(
        Embedding(image_id, Kind.LSH, MODELS[Kind.LSH].version, lsh, now_ms - 7, uri),
        Embedding(image_id, Kind.PAIR, MODELS[Kind.PAIR].version, pair, now_ms - 5, uri),
    )


class Writer:
    """An in-memory worker whose images are known by their ids alone, and which writes heartbeats."""

    def __init__(self, settings: Settings) -> None:
        def own_index(source: str, folder: Path) -> TermIndex:
            return open_index(folder, small_term_space(), settings.terms, source)

        self._home = settings.home
        self.worker = InMemoryWorker(settings.home, scorer=scorer(), matching=MATCHING, open_index=own_index)
        self.beat()

    @property
    def store(self) -> Store:
        return self.worker.store

    def decide(self, image_ids: Sequence[str], uris: dict[str, str] | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000
        images = [joined(image_id, now_ms, (uris or {}).get(image_id, "")) for image_id in image_ids]
        self.worker.decide(images, len(images), now_ms)

    def promote(self, version: str) -> None:
        """Commits what a worker commits when it is told to load this classifier."""

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            state.classifier_version = version
            promotion = store_pb.Promotion(version=version, replaced=SHIPPED, issued_by="a test", at_ms=7)
            batch.put(Table.PROMOTIONS, layout.number_key(state.commands), promotion.SerializeToString())

        self.worker.commit_outcome(f"promote {version}", Done({}, write))

    def run_command(self, name: str, command_id: str, *, apply: bool = True, **arguments: str) -> None:
        """Runs an override or forget command; see `InMemoryWorker.run_command`."""
        self.worker.run_command(name, command_id=command_id, apply=apply, **arguments)

    def limit_representatives(self, most: int) -> None:
        pipeline = self.worker.pipeline
        pipeline.use_classifier(pipeline.scorer, replace(pipeline.matching, max_representatives=most))

    def beat(self, phase: Phase = Phase.RUNNING, age_s: float = 0.0, **figures: float) -> None:
        now_ms = time.time_ns() // 1_000_000 - round(1_000 * age_s)
        write_heartbeat(self._home, Heartbeat(1, now_ms, now_ms, phase, {"lag": 3.0, **figures}, SHIPPED))


def settings_of(folder: Path) -> Settings:
    return Settings(home=folder / "home", api={"refresh_ms": 20, "max_upload_bytes": 20_000})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture
def writer(settings: Settings) -> Iterator[Writer]:
    writer = Writer(settings)
    with closing(writer.store):
        yield writer


@contextmanager
def listening(app: ASGIApp, api: ApiSettings | None = None) -> Iterator[httpx.Client]:
    """A client of a real uvicorn on a free port."""
    config = BoundedConfig(app, api or ApiSettings())
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started or not thread.is_alive())
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serving(settings: Settings) -> Iterator[httpx.Client]:
    with listening(build_app(settings, lambda: models(settings)), settings.api) as client:
        yield client


@pytest.fixture
def client(settings: Settings, writer: Writer) -> Iterator[httpx.Client]:
    with serving(settings) as client:
        wait_for(client, "/readyz", lambda answer: answer.status_code == 200)
        yield client


@contextmanager
def knowing(folder: Path, *steps: Sequence[str]) -> Iterator[httpx.Client]:
    """A client of a server that can search, over a store in which these images were decided."""
    settings = settings_of(folder)
    writer = Writer(settings)
    with closing(writer.store), serving(settings) as client:
        for step in steps:
            writer.decide(step)
        seen(client, quote(steps[-1][-1], safe=""))
        wait_for(client, "/readyz", lambda answer: answer.json()["search"]["ok"])
        yield client


@pytest.fixture(scope="session")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One server for all tests that only read or are refused: three cats, a dog and a bird are in its store."""
    with knowing(tmp_path_factory.mktemp("unchanged"), ["cat~1", "dog~1", "cat~2"], ["cat~3", "bird~1"]) as client:
        yield client


def wait_for(client: httpx.Client, path: str, is_so, within_s: float = 180.0) -> httpx.Response:
    """The first answer of a path that is so."""
    latest: list[httpx.Response] = []

    def answered() -> httpx.Response | None:
        latest[:] = [client.get(path)]
        return latest[0] if is_so(latest[0]) else None

    return eventually(answered, lambda: f"{path} answers {latest[0].status_code} {latest[0].text[:500]}", within_s)


def seen(client: httpx.Client, image_id: str) -> None:
    """Wait until the reader has caught up with this image."""
    wait_for(client, f"/v1/images/{image_id}", lambda answer: answer.status_code == 200)
