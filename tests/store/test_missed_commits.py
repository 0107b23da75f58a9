"""Claims about a reader that meets a flush: commits that left the log before it could read them are noticed.

The flush falls between the reading of the list of files and of the log. The tests put together the folder
as such a reader sees it: the old list of files, and the log after the flush.
"""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.errors import ServerUnavailable
from neardup_platform.store import layout, store_pb2
from neardup_platform.store.layout import Table
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.store.writer import Batch, Store

FLUSHED, MISSED, LAST = range(1, 4), range(4, 7), 7


def commit(store: Store, state: store_pb2.StoreState, number: int) -> None:
    """Store one image in a commit that leaves the same marks as the worker's."""
    batch = Batch()
    image = f"image-{number}"
    batch.put(Table.IMAGES, image.encode(), store_pb2.ImageRecord(head=image).SerializeToString())
    batch.delete(Table.COMMIT, layout.number_key(number - 1))
    batch.put(Table.COMMIT, layout.number_key(number), b"")
    state.commit = number
    batch.put_state(state)
    store.write(batch)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """The store as its list of files was before a flush, without a log; and the log after the flush."""
    seen, log = tmp_path / "seen", tmp_path / "log"
    with closing(Store(tmp_path / "store")) as store:
        state = store.state()
        for number in FLUSHED:
            commit(store, state, number)
        store.flush()
        shutil.copytree(tmp_path / "store", seen, ignore=shutil.ignore_patterns("*.log"))
        for number in MISSED:
            commit(store, state, number)
        store.flush()
        commit(store, state, LAST)
        store.sync()
        log.mkdir()
        newest = max((tmp_path / "store").glob("*.log"), key=lambda path: path.name)
        shutil.copy(newest, log)
    return seen, log


def test_a_reader_that_misses_commits_on_opening_does_not_open(folders: tuple[Path, Path], tmp_path: Path) -> None:
    seen, log = folders
    shutil.copytree(log, seen, dirs_exist_ok=True)
    with pytest.raises(ServerUnavailable, match="changed 10 times"):
        SecondaryStore(seen, tmp_path / "reader")


def test_a_reader_that_misses_commits_on_refreshing_says_so(folders: tuple[Path, Path], tmp_path: Path) -> None:
    seen, log = folders
    with closing(SecondaryStore(seen, tmp_path / "reader")) as reader:
        assert reader.state().commit == FLUSHED[-1]
        shutil.copytree(log, seen, dirs_exist_ok=True)
        with pytest.raises(ServerUnavailable, match="changed 10 times"):
            reader.refresh()
