"""Claims about opening and dropping a store."""

import gc
from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.errors import HomeInUse, SetupError
from neardup_platform.store.view import open_checkpoint
from neardup_platform.store.writer import Store


def test_a_dropped_store_releases_its_files_without_a_garbage_collection(tmp_path: Path) -> None:
    """Tests drop a store to stand for a killed process; a reference cycle would keep it open."""
    gc.disable()
    try:
        store = Store(tmp_path / "store")
        with pytest.raises(HomeInUse, match="another worker has"):
            Store(tmp_path / "store")
        del store
        Store(tmp_path / "store").close()
    finally:
        gc.enable()


def test_a_checkpoint_reads_the_moment_it_was_taken(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")) as store:
        store.flush()
        store.checkpoint(tmp_path / "checkpoint")
        with closing(open_checkpoint(tmp_path / "checkpoint")) as view:
            assert view.state() == store.state()


def test_a_folder_without_a_store_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="opening the checkpoint"):
        open_checkpoint(tmp_path / "nothing")
