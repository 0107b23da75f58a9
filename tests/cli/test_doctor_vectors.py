"""Claims about the doctor's check of the vector files: correct, growing, damaged, foreign, missing."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.cli import doctor
from neardup_platform.cli.doctor import Check
from neardup_platform.scoring.json_vector_manifest import NAME
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.testing import LSH_DIM, InMemoryWorker, families, image

IMAGES = 60


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def worker(settings: Settings) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(settings.home)) as worker:
        worker.decide(families(IMAGES, 0))
        worker.corpus.vectors.sync()  # type: ignore[attr-defined]
        yield worker


def check(settings: Settings) -> Check:
    return doctor._run("vectors", doctor._vectors, settings)


def test_files_of_a_running_worker_are_compared_with_the_store(settings: Settings, worker: InMemoryWorker) -> None:
    assert check(settings) == Check("vectors", True, f"{IMAGES} images synced, {IMAGES} compared with the store")
    later = np.random.default_rng(9).standard_normal((5, LSH_DIM)).astype(np.float32)
    worker.decide([image(f"later/{number}", vector) for number, vector in enumerate(later)])
    assert check(settings).detail == f"{IMAGES} images synced, {IMAGES} compared with the store"


def test_a_home_without_a_store_passes_every_check(settings: Settings) -> None:
    assert check(settings) == Check("vectors", True, "empty: no worker has run yet")
    assert not settings.home.exists()


def test_missing_files_are_not_damage(settings: Settings, worker: InMemoryWorker) -> None:
    shutil.rmtree(settings.vectors_path)
    assert check(settings) == Check(
        "vectors", True, f"no files yet for the {IMAGES} images of the store: the worker creates them"
    )


def test_a_flipped_bit_is_reported_with_its_file_and_image(settings: Settings, worker: InMemoryWorker) -> None:
    (path,) = settings.vectors_path.glob("lsh-*")
    with path.open("r+b") as file:
        file.seek(7 * LSH_DIM * 2 + 3)
        byte = file.read(1)[0]
        file.seek(7 * LSH_DIM * 2 + 3)
        file.write(bytes([byte ^ 1]))
    found = check(settings)
    assert not found.ok
    assert f"{path} has another vector for image 7" in found.detail


def test_a_damaged_manifest_and_files_of_another_store_are_distinguished(
    settings: Settings, worker: InMemoryWorker, tmp_path: Path
) -> None:
    other = settings.model_copy(update={"home": tmp_path / "other"})
    shutil.copytree(settings.vectors_path, other.vectors_path)
    Store(other.store_path).close()
    assert "belong to another store" in check(other).detail
    (settings.vectors_path / NAME).write_text("{")
    found = check(settings)
    assert not found.ok
    assert "read from the store again" in found.detail
