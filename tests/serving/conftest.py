"""A real store written through the real pipeline and commit; only the vectors and the scorer are simple."""

import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from PIL import Image
from starlette.types import ASGIApp

from neardup_platform.clusters.overrides import Overrides
from neardup_platform.corpus import Corpus
from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.scoring.mmap_vectors import FollowedVectors
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.serving.app import build_app
from neardup_platform.serving.connections import BoundedConfig
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import ApiSettings, Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.commit import Step, commit
from neardup_platform.stream.control.command import Handled, Outcome
from neardup_platform.stream.corrections.deciding_again import DecidingAgain
from neardup_platform.stream.corrections.forget import Forget
from neardup_platform.stream.corrections.override import Override
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.supervise.heartbeat import Heartbeat, Phase, write_heartbeat
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex, open_index
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message
from neardup_platform.wire.topics import CONTROL

LSH_DIM, PAIR_DIM = 32, 8
EXPECTS = {Kind.LSH: ModelSpec("test-lsh", LSH_DIM), Kind.PAIR: ModelSpec("test-pair", PAIR_DIM)}
MATCHING = Matching(max_candidates=100, min_overlap=1, threshold=0.9, head_threshold=0.8)
PROMOTED_THRESHOLD = 0.97


class CosineScorer:
    """Scores by the cosine of both vectors, the smaller of the two."""

    head_threshold = MATCHING.head_threshold
    expects = EXPECTS

    def __init__(self, version: str = "cosine-1") -> None:
        self.version = version
        self.threshold = MATCHING.threshold if version == "cosine-1" else PROMOTED_THRESHOLD

    def score(
        self, a: ImageVectors, rows_a: NDArray[np.int64], b: ImageVectors, rows_b: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        lsh, pair = _cosine(a.lsh[rows_a], b.lsh[rows_b]), _cosine(a.pair[rows_a], b.pair[rows_b])
        return np.minimum(lsh, pair).clip(0, 1).astype(np.float32)


def _cosine(a: NDArray[np.float16], b: NDArray[np.float16]) -> NDArray[np.float32]:
    x, y = a.astype(np.float32), b.astype(np.float32)
    return (x * y).sum(1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1) + 1e-9)


def picture_of(image_id: str) -> bytes:
    """A PNG of which the embedder reads an image's id."""
    content = io.BytesIO()
    Image.fromarray(np.frombuffer(image_id.encode("latin-1"), np.uint8)[None]).save(content, "PNG")
    return content.getvalue()


def term_space() -> TermSpace:
    sample = np.random.default_rng(1).standard_normal((400, LSH_DIM)).astype(np.float32)
    return fit_term_space(sample, "test-lsh", tables=16, bits=8, whitening=0.0, seed=1)


def models(settings: Settings) -> Models:
    space = term_space()

    def follow_index(source: str, known: TermIndex | None) -> TermIndex:
        return open_index(settings.index_path, space, settings.terms, source, writable=False, known=known)

    def embed(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return vectors_of(bytes(pixels[0, :, 0]).decode("latin-1"))

    def promoted(version: str) -> tuple[CosineScorer, Matching]:
        scorer = CosineScorer(version)
        return scorer, replace(MATCHING, threshold=scorer.threshold)

    def follow_vectors(source: str) -> FollowedVectors:
        return FollowedVectors(settings.vectors_path, source, EXPECTS)

    return Models(space, CosineScorer(), EXPECTS, MATCHING, embed, 1, follow_index, follow_vectors, promoted)


def vectors_of(image_id: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors that differ little between ids that differ only after the last `~`."""
    group = np.random.default_rng(list(image_id.rpartition("~")[0].encode() or image_id.encode()))
    own = np.random.default_rng(list(image_id.encode()))
    lsh, pair = group.standard_normal(LSH_DIM), group.standard_normal(PAIR_DIM)
    return (
        (lsh + 0.03 * own.standard_normal(LSH_DIM)).astype(np.float32),
        (pair + 0.03 * own.standard_normal(PAIR_DIM)).astype(np.float32),
    )


class Writer:
    """Decides and commits as the worker does, between join and publishing."""

    def __init__(self, settings: Settings) -> None:
        self._home = settings.home
        self.store = Store(settings.store_path)
        space = term_space()
        corpus: Corpus = rebuild_corpus(
            self.store,
            space,
            EXPECTS,
            lambda source: open_index(settings.index_path, space, settings.terms, source),
            settings.vectors_path,
        )
        self._pipeline = Pipeline(space, CosineScorer(), corpus, MATCHING)
        again = DecidingAgain(self.store, self._pipeline, Overrides(self.store.overrides.all()))
        self._handlers = {"override": Override(again), "forget": Forget(self.store, again, lambda _: None)}
        self._state = self.store.state()
        self.beat()

    def decide(self, image_ids: Sequence[str], uris: dict[str, str] | None = None) -> None:
        now_ms = time.time_ns() // 1_000_000
        images = []
        for image_id in image_ids:
            lsh, pair = vectors_of(image_id)
            uri = (uris or {}).get(image_id, "")
            images.append(
                JoinedImage(
                    Embedding(image_id, Kind.LSH, "test-lsh", lsh, now_ms - 7, uri),
                    Embedding(image_id, Kind.PAIR, "test-pair", pair, now_ms - 5, uri),
                )
            )
        decided = self._pipeline.decide(images, self._state.sequence + 1, now_ms)
        commit(self.store, self._state, Step(), decided)

    def promote(self, version: str) -> None:
        """Commit what the worker commits when it promotes this classifier."""
        result = pb.CommandResult(command_id=f"promote {version}", accepted=True)

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            state.classifier_version = version
            promotion = store_pb.Promotion(version=version, replaced="cosine-1", issued_by="a test", at_ms=7)
            batch.put(Table.PROMOTIONS, layout.number_key(state.commands), promotion.SerializeToString())

        handled = Handled(Message(CONTROL, 0, 0, b"", b""), result, Outcome({}, write=write))
        commit(self.store, self._state, Step.of_command(handled), ())

    def run_command(self, name: str, command_id: str, *, apply: bool = True, **arguments: str) -> Callable[[], None]:
        """Commit a command as the worker does; returns what updates its memory."""
        now_ms = time.time_ns() // 1_000_000
        command = pb.Command(
            command_id=command_id, name=name, arguments=arguments, issued_by="a test", issued_ms=now_ms
        )
        outcome = self._handlers[name](command)()
        result = pb.CommandResult(command_id=command_id, accepted=True, values=outcome.values)
        handled = Handled(Message(CONTROL, 0, 0, b"", b""), result, outcome)
        commit(self.store, self._state, Step.of_command(handled), ())
        if apply:
            outcome.apply()
        return outcome.apply

    def limit_representatives(self, most: int) -> None:
        self._pipeline.use_classifier(self._pipeline.scorer, replace(self._pipeline.matching, max_representatives=most))

    def beat(self, phase: Phase = Phase.RUNNING, age_s: float = 0.0, **figures: float) -> None:
        now_ms = time.time_ns() // 1_000_000 - round(1_000 * age_s)
        write_heartbeat(self._home, Heartbeat(1, now_ms, now_ms, phase, {"lag": 3.0, **figures}, "cosine-1"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", api={"refresh_ms": 20, "max_upload_bytes": 20_000})


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
    until(lambda: server.started or not thread.is_alive())
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
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


def wait_for(client: httpx.Client, path: str, is_so, within_s: float = 60.0) -> httpx.Response:
    deadline = time.monotonic() + within_s
    while True:
        answer = client.get(path)
        if is_so(answer):
            return answer
        assert time.monotonic() < deadline, f"{path} still answers {answer.status_code} {answer.text[:500]}"
        time.sleep(0.01)


def until(is_so: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def seen(client: httpx.Client, image_id: str) -> None:
    """Wait until the reader has caught up with this image."""
    wait_for(client, f"/v1/images/{image_id}", lambda answer: answer.status_code == 200)
