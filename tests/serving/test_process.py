"""The API as a process: `python -m neardup_platform.serving`, with the shipped models."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from neardup_platform.corpus import Corpus
from neardup_platform.image_table.mmap_ids import WrittenIds
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.images.decode import decode
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Embedding, JoinedImage, Kind
from neardup_platform.scoring.keras_classifier import load_classifier
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.settings import Settings
from neardup_platform.stream.checkpointing import Saving, save_checkpoint
from neardup_platform.stream.commit import commit
from neardup_platform.stream.steps import StreamStep
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.terms.opening import open_index
from neardup_platform.testing import eventually
from tests.serving.raw_http import stalled_uploads

PICTURES = Path(__file__).parents[2] / "samples" / "pictures"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(home: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    port = free_port()
    environment = {**os.environ, "NEARDUP_HOME": str(home), "NEARDUP_API_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "neardup_platform.serving"],
        env=environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + LONG_S
            while True:
                try:
                    client.get("/healthz")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, process.communicate()[0]
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield process, client
    finally:
        process.kill()
        process.communicate()


# The models load beside other tests.
LONG_S = 300.0


def decide_pictures(settings: Settings, names: list[str]) -> None:
    from neardup_platform.store.stored_pairs import StoredPairs
    from neardup_platform.store.writer import Store

    lsh, pair = load_embedders(settings.images)
    scorer, space = load_classifier(None), load_term_space(None)
    enough_px = max(lsh.enough_px, pair.enough_px)
    pixels = [
        decode((PICTURES / name).read_bytes(), max_pixels=10**8, max_bytes=10**8, enough_px=enough_px) for name in names
    ]
    images = [
        JoinedImage(
            Embedding(name, Kind.LSH, lsh.model_version, lsh_vector, 1_000),
            Embedding(name, Kind.PAIR, pair.model_version, pair_vector, 1_000),
        )
        for name, lsh_vector, pair_vector in zip(names, lsh.embed(pixels), pair.embed(pixels), strict=True)
    ]
    with closing(Store(settings.store_path)) as store:
        vectors = WrittenVectors(
            settings.vectors_path, store.state().store_id, scorer.required_models, 0, StoredPairs(store)
        )
        ids = WrittenIds(settings.vectors_path, None)
        with closing(Corpus(space, open_index(None, space, settings.terms), vectors, ids)) as corpus:
            decided = Pipeline(space, scorer, corpus, Matching.of(settings, scorer)).decide(images, 1, 2_000)
            commit(store, store.state(), StreamStep(decided=decided), 0)
            assert save_checkpoint(store, Saving.of(store.state(), corpus, ids, settings.vectors_path))


@pytest.mark.slow
def test_a_picture_uploaded_to_the_real_server_finds_itself(tmp_path: Path) -> None:
    names = sorted(picture.name for picture in PICTURES.glob("*.jpg"))[:5]
    decide_pictures(Settings(home=tmp_path), names)
    with running(tmp_path) as (_, client):
        asked_ms, deadline = [], time.monotonic() + LONG_S
        while not client.get("/readyz").json()["search"]["ok"]:
            assert time.monotonic() < deadline, "the models do not load"
            begun = time.monotonic()
            assert client.get(f"/v1/images/{names[0]}").status_code in (200, 503)
            asked_ms.append(1_000 * (time.monotonic() - begun))
            assert "is off" not in client.get("/readyz").json()["search"]["detail"]
            time.sleep(0.05)
        # Other calls stay fast while TensorFlow loads in the background.
        assert np.median(asked_ms) < 500
        with ExitStack() as stack:
            # Without this, 1,150 of them blocked the search.
            stalled_uploads(stack, client.base_url.port, 300)
            picture = {"picture": (PICTURES / names[2]).read_bytes()}
            eventually(lambda: client.post("/v1/search", files=picture).status_code == 200, timeout_s=LONG_S)
            assert client.get("/healthz").status_code == 200
        found = client.post("/v1/search", files={"picture": (PICTURES / names[2]).read_bytes()}).json()
        assert found["seen_before"]
        assert found["matches"][0]["image_id"] == names[2]
        assert found["cluster"] == client.get(f"/v1/images/{names[2]}").json()["head"]
        refused = client.post("/v1/search", files={"picture": b"no picture"})
        assert refused.status_code == 400
        assert "JPEG" in refused.json()["detail"]


def test_sigterm_ends_the_process_and_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (process, client):
        assert client.get("/readyz").status_code == 503
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=LONG_S)
        assert process.returncode in (0, -signal.SIGTERM)
    assert not list(tmp_path.glob("api-*"))


def test_a_wrong_setting_ends_the_process_with_one_clear_line(tmp_path: Path) -> None:
    environment = {**os.environ, "NEARDUP_HOME": str(tmp_path), "NEARDUP_API_HOST": "192.0.2.1"}
    ended = subprocess.run(
        [sys.executable, "-m", "neardup_platform.serving"],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert ended.returncode == 1
    assert "set api.token" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_importing_the_application_does_not_import_tensorflow_or_boto3() -> None:
    heavy = "('tensorflow', 'keras', 'boto3')"
    code = f"import sys, neardup_platform.serving.__main__; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG_S, check=True)
    assert done.stdout.strip() == "[]"
