"""Claims about power cuts: when a marker is there, all that it vouches for has reached the disk before.

What reached the disk is known by the calls of fsync: a file counts if it was synced after its last change, a folder if
it was synced after the last entry came to it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.files import publish_once, publish_tree, replace_durably, write_json, write_sealed
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.store.swap import complete_swap, copy_store, decide_swap, next_path
from neardup_platform.store.writer import Store
from neardup_platform.supervise.heartbeat import pause
from neardup_platform.terms.index import TermIndex
from neardup_platform.testing import EXHAUSTIVE, InMemoryWorker, families, small_term_space
from tests.scoring.test_vectors import Stored
from tests.terms.sealing_process import BLOCK_IMAGES, vectors

_OPENS = """
import sys
from pathlib import Path
from neardup_platform.store.writer import Store
Store(Path(sys.argv[1]))
"""


class Disk:
    """Notes what is synced, and looks at a marker's charges when the marker gets its name."""

    def __init__(self) -> None:
        self.synced: dict[int, int] = {}
        self.markers: list[str] = []
        self.vouches: Callable[[Path], list[Path]] = lambda _: []

    def fsync(self, handle: int, sync: Callable[[int], None] = os.fsync) -> None:
        sync(handle)
        self.synced[os.fstat(handle).st_ino] = time.time_ns()

    def renamed(self, source: Path, target: Path) -> None:
        """A rename is about to be done."""
        assert source.is_dir() or self.has(source), f"{source.name} was renamed to {target.name} before it was synced"
        charges = self.vouches(target)
        for charge in charges:
            assert self.has(charge), f"{target.name} was written before {charge} was synced"
        if charges:
            self.markers.append(target.name)

    def has(self, path: Path) -> bool:
        found = path.stat()
        return self.synced.get(found.st_ino, 0) >= found.st_mtime_ns


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    rename, replace = Path.rename, Path.replace
    monkeypatch.setattr(os, "fsync", disk.fsync)

    def renaming(call: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def noted(self: Path, target: Path) -> Path:
            disk.renamed(self, target)
            return call(self, target)

        return noted

    monkeypatch.setattr(Path, "rename", renaming(rename))
    monkeypatch.setattr(Path, "replace", renaming(replace))
    return disk


def tree(folder: Path) -> list[Path]:
    """A folder and all that is in it."""
    return [folder, *folder.rglob("*")]


def test_the_marker_of_an_exchange_comes_after_every_byte_of_the_store_to_come(tmp_path: Path, disk: Disk) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home, other):
        with closing(InMemoryWorker(folder)) as worker:
            images = families(8, 3)
            worker.decide(images[:20])
            worker.store.flush()
            worker.decide(images[20:])
    store = home / "store"
    copy_store(other / "store", next_path(store))
    disk.vouches = lambda target: tree(next_path(store)) if target.name == "store.swap.json" else []
    decide_swap(store, "a test")
    assert disk.markers == ["store.swap.json"]
    disk.vouches = lambda _: []
    assert complete_swap(store)
    # The names that the exchange gave are on the disk before the marker is gone.
    assert disk.has(home)


def test_a_manifest_of_vectors_comes_after_the_rows_that_it_counts(tmp_path: Path, disk: Disk) -> None:
    models = {kind: ModelSpec(kind, 4) for kind in Kind}
    folder = tmp_path / "vectors"
    with closing(WrittenVectors(folder, "s", models, 0, Stored(0))) as table:
        disk.vouches = lambda target: (
            [*folder.glob("*.f16"), *folder.glob("*.u8")] if target.name == "manifest.json" else []
        )
        for _ in range(3):
            table.append(ImageVectors(*(np.ones((300, 4), np.float16) for _ in Kind)))
            table.sync()
    assert disk.markers == ["manifest.json"] * 3


def test_a_checkpoint_comes_after_the_ids_and_columns_that_it_names(tmp_path: Path, disk: Disk) -> None:
    with closing(InMemoryWorker(tmp_path)) as worker:
        worker.decide(families(8, 3))
        files = [tmp_path / "vectors" / pattern for pattern in ("ids-*.text", "ids-*.places", "columns-*.bin")]
        disk.vouches = lambda target: (
            [max(file.parent.glob(file.name), key=lambda path: path.stat().st_mtime_ns) for file in files]
            if target.name == "corpus.json"
            else []
        )
    assert disk.markers == ["corpus.json"]


def test_a_manifest_of_the_term_index_comes_after_the_segments_that_it_names(tmp_path: Path, disk: Disk) -> None:
    disk.vouches = lambda target: list(tmp_path.glob("*.segment")) if target.name == "manifest.json" else []
    index, hashed = (
        TermIndex(tmp_path, small_term_space(), EXHAUSTIVE, source="s", block_images=BLOCK_IMAGES),
        small_term_space().hash(vectors()),
    )
    for first in range(0, 200, 8):
        index.add(hashed[first : first + 8])
    index.flush()
    index.close()
    assert index.problem == ""
    assert "manifest.json" in disk.markers


def test_a_folder_gets_its_name_after_all_of_it_is_synced(tmp_path: Path, disk: Disk) -> None:
    staged = tmp_path / "staged"
    (staged / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (staged / name).write_text(name)
    disk.vouches = lambda target: tree(staged) if target.name == "whole" else []
    publish_tree(staged, tmp_path / "whole")
    assert disk.markers == ["whole"]
    assert disk.has(tmp_path)


def test_of_two_that_publish_a_folder_at_once_neither_takes_it_from_the_other(tmp_path: Path) -> None:
    def staged(content: str) -> Path:
        folder = tmp_path / content
        folder.mkdir()
        (folder / "file").write_text(content)
        return folder

    def is_whole(folder: Path) -> bool:
        return (folder / "file").read_text() != "damaged"

    publish_once(staged("first"), tmp_path / "whole", is_whole)
    first = (tmp_path / "whole").stat().st_ino
    publish_once(staged("second"), tmp_path / "whole", is_whole)
    assert ((tmp_path / "whole").stat().st_ino, (tmp_path / "whole" / "file").read_text()) == (first, "first")
    (tmp_path / "whole" / "file").write_text("damaged")
    publish_once(tmp_path / "second", tmp_path / "whole", is_whole)
    assert (tmp_path / "whole" / "file").read_text() == "second"


def test_a_store_cannot_be_opened_while_it_is_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    with closing(Store(tmp_path / "made")):
        pass
    for path in (store, next_path(store)):
        copy_store(tmp_path / "made", path)
    decide_swap(store, "a test")
    opened: list[int] = []
    rename = Path.rename

    def renamed(self: Path, target: Path) -> Path:
        if self == store and not opened:
            opened.append(
                subprocess.run([sys.executable, "-c", _OPENS, str(store)], capture_output=True, check=False).returncode
            )
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    assert complete_swap(store)
    assert opened == [1]
    with closing(Store(store)):
        pass


@pytest.mark.parametrize("place", ["a staged file", "a sealed file", "a file of the home", "a pause"])
def test_a_file_that_is_replaced_is_synced_before_and_its_folder_after(tmp_path: Path, disk: Disk, place: str) -> None:
    staged = tmp_path / "staged"
    staged.write_text("{}")
    {
        "a staged file": lambda: replace_durably(staged, tmp_path / "there"),
        "a sealed file": lambda: write_sealed(tmp_path / "there", {}),
        "a file of the home": lambda: write_json(tmp_path / "there", {}),
        "a pause": lambda: pause(tmp_path, "a test"),
    }[place]()
    assert disk.has(tmp_path)
