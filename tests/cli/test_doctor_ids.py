"""Claims about the doctor's check of the ids on disk."""

from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.cli import doctor
from neardup_platform.cli.doctor import Check
from neardup_platform.image_table.checkpoint import NAME
from neardup_platform.settings import Settings
from neardup_platform.testing import InMemoryWorker, families

IMAGES = 60


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    with closing(InMemoryWorker(settings.home)) as worker:
        worker.decide(families(IMAGES, 0))
        worker.forget(worker.corpus.id_of(5))
    return settings


def check(settings: Settings) -> Check:
    return doctor._run("ids", doctor._ids, settings)


def test_ids_on_disk_are_compared_with_the_store(settings: Settings, tmp_path: Path) -> None:
    found = check(settings)
    assert found.ok
    assert found.detail.startswith(f"{IMAGES} in the checkpoint of commit ")
    assert found.detail.endswith(f", {IMAGES} compared with the store")
    (settings.vectors_path / NAME).unlink()
    assert check(settings) == Check("ids", True, "no checkpoint yet: the worker makes one when it starts")
    empty = Settings(home=tmp_path / "empty")
    assert check(empty) == Check("ids", True, "empty: no worker has run yet")


def test_a_flipped_bit_is_reported_with_its_image(settings: Settings) -> None:
    (path,) = settings.vectors_path.glob("ids-*.text")
    content = bytearray(path.read_bytes())
    content[1] ^= 1
    path.write_bytes(content)
    found = check(settings)
    assert not found.ok
    assert f"{settings.vectors_path} has another id for image 0 than the store" in found.detail


def test_a_damaged_column_is_reported(settings: Settings) -> None:
    (path,) = settings.vectors_path.glob("columns-*")
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert "wrong checksum" in check(settings).detail
