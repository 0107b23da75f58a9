"""Claims about the check of the term index: complete, growing, damaged, foreign, ahead of the store, missing."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.cli import doctor
from neardup_platform.cli.doctor import Check
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.terms.hyperplanes import save_term_space
from neardup_platform.terms.json_manifest import NAME
from neardup_platform.testing import InMemoryWorker, families, image, small_term_space

IMAGES, SEALED = 180, 128


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    save_term_space(small_term_space(), tmp_path / "space.npz")
    return Settings(home=tmp_path / "home", terms={"space": tmp_path / "space.npz"})


def filled(settings: Settings) -> InMemoryWorker:
    worker = InMemoryWorker(settings.home)
    worker.decide(families(IMAGES, 0))
    worker.index.flush()
    return worker


@pytest.fixture
def worker(settings: Settings) -> Iterator[InMemoryWorker]:
    with closing(filled(settings)) as worker:
        yield worker


def index_check(settings: Settings) -> Check:
    return doctor._run("index", doctor._index, settings)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def test_the_index_of_a_running_worker_is_correct(settings: Settings, worker: InMemoryWorker) -> None:
    check = index_check(settings)
    assert check.ok
    segments = len(worker.index.segments)
    assert check.detail == f"{SEALED} images in {segments} segments, checksums correct"


def test_an_index_without_segments_is_not_damage(settings: Settings) -> None:
    assert index_check(settings) == Check("index", True, "empty: no worker has run yet")
    assert not settings.home.exists()
    with closing(InMemoryWorker(settings.home)) as worker:
        worker.decide(families(3, 0))
        assert "no segments yet of the 3 images" in index_check(settings).detail


def test_a_flipped_bit_is_reported_with_its_file_and_repaired_by_a_restart(settings: Settings) -> None:
    filled(settings).close()
    (path, *_) = sorted(settings.index_path.glob("*.segment"))
    damage(path)
    check = index_check(settings)
    assert not check.ok
    assert str(path) in check.detail
    assert "worker repairs it at its next start" in check.detail
    with closing(InMemoryWorker(settings.home)) as restarted:
        restarted.index.flush()
        check = index_check(settings)
        assert check.ok
        assert check.detail.startswith(f"{SEALED} images")


def test_a_damaged_manifest_is_reported(settings: Settings, worker: InMemoryWorker) -> None:
    (settings.index_path / NAME).write_text('{"crc": 1, "content": "{}"}')
    check = index_check(settings)
    assert not check.ok
    assert str(settings.index_path / NAME) in check.detail


def test_a_missing_index_is_not_damage(settings: Settings, worker: InMemoryWorker) -> None:
    shutil.rmtree(settings.index_path)
    check = index_check(settings)
    assert check.ok
    assert f"no segments yet of the {IMAGES} images" in check.detail


def test_an_index_of_another_store_or_term_space_is_reported(
    settings: Settings, worker: InMemoryWorker, tmp_path: Path
) -> None:
    home = tmp_path / "another"
    other = settings.model_copy(update={"home": home})
    shutil.copytree(settings.index_path, other.index_path)
    Store(other.store_path).close()
    assert "belongs to another store" in index_check(other).detail
    shipped = settings.model_copy(update={"terms": settings.terms.model_copy(update={"space": None})})
    check = index_check(shipped)
    assert not check.ok
    assert small_term_space().version in check.detail


def test_an_index_ahead_of_the_store_is_reported(settings: Settings, worker: InMemoryWorker) -> None:
    """As after a power cut that took the last commits of the store."""
    hashed = small_term_space().hash(
        np.random.default_rng(1).standard_normal((2 * IMAGES, small_term_space().dim)).astype(np.float32)
    )
    for at in range(0, len(hashed), 8):
        worker.index.add(hashed[at : at + 8])
    worker.index.flush()
    check = index_check(settings)
    assert not check.ok
    assert f"the store has {IMAGES}" in check.detail


def test_segments_merged_during_the_check_are_not_damage(settings: Settings, worker: InMemoryWorker) -> None:
    rng = np.random.default_rng(9)
    checks: list[Check] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            checks.append(index_check(settings))

    thread = threading.Thread(target=look)
    thread.start()
    # The index grows until it has been looked at often enough.
    for batch in count():
        if batch >= 40 and len(checks) > 3:
            break
        vectors = rng.standard_normal((16, small_term_space().dim))
        worker.decide([image(f"more/{batch}/{n}", vector) for n, vector in enumerate(vectors)])
        worker.index.flush()
    done.set()
    thread.join()
    assert all(check.ok for check in checks), checks
