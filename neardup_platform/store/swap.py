"""One store in place of another, by renames that a kill at any point leaves undone or lets the next start complete.

| in NEARDUP_HOME | |
|---|---|
| `store/` | the one in force |
| `store.next/` | the one to come, whole and synced once the marker is there; without a marker it is left over |
| `store.before/` | the one that was in force before the last exchange; kept until the next, to go back to |
| `store.swap.json` | the marker: the exchange is decided |
| `store.swap.lock` | locked by the process that does it |

Nobody may have a store open while it is renamed, because RocksDB goes by paths: so the worker writes the marker, ends
its run, and the renames are done at the next start, before anything is opened.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from neardup_platform.errors import HomeInUse, InvariantBroken, NeardupError
from neardup_platform.files import read_sealed, sync_folder, sync_tree, write_sealed

log = logging.getLogger(__name__)


class StoreReplaced(NeardupError):
    """Another store is to be in force: the worker must start anew."""


def next_path(store: Path) -> Path:
    """Where the store to come is made."""
    return store.with_name(f"{store.name}.next")


def before_path(store: Path) -> Path:
    """Where the store lies that was in force before."""
    return store.with_name(f"{store.name}.before")


def decide_swap(store: Path, why: str) -> None:
    """Write the marker: from here on the next start exchanges the stores, whatever happens.

    Args:
        store: the one in force; nothing may be written to it any more.
        why: for the log of that start.

    Raises:
        OSError: the disk is full or broken; nothing is decided.
    """
    sync_tree(next_path(store))
    write_sealed(_marker(store), {"why": why})


def complete_swap(store: Path) -> bool:
    """At start, before the store is opened: do the renames that are decided; returns whether there were any.

    Raises:
        HomeInUse: another process still has the store open.
        InvariantBroken: the marker is damaged, or the store to come is gone.
    """
    try:
        marker = read_sealed(_marker(store))
    except ValueError as error:
        raise InvariantBroken(f"{_marker(store)} is damaged ({error}): delete it to go on with {store}") from error
    if marker is None:
        _remove(next_path(store))
        return False
    with _closed(store):
        _exchange(store)
    log.info("another store is active: %s; the previous one is kept as %s", marker["why"], before_path(store).name)
    return True


def _exchange(store: Path) -> None:
    if next_path(store).exists():
        if store.exists():
            _remove(before_path(store))
            store.rename(before_path(store))
        next_path(store).rename(store)
        sync_folder(store.parent)
    elif not store.exists():
        raise InvariantBroken(f"neither {store} nor {next_path(store)} is there: restore a backup")
    _marker(store).unlink()
    sync_folder(store.parent)


def copy_store(source: Path, target: Path) -> None:
    """Copy the folder of a store that nobody has open; files that never change are linked."""
    _remove(target)
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix == ".sst":
            os.link(path, target / path.name)
        elif path.is_file() and path.name != "LOCK":
            shutil.copyfile(path, target / path.name)


def remove_next(store: Path) -> None:
    """Remove what an attempt that came to nothing left behind."""
    _remove(next_path(store))


def _marker(store: Path) -> Path:
    return store.with_name(f"{store.name}.swap.json")


@contextmanager
def _closed(store: Path) -> Iterator[None]:
    """Keep others from opening a store, and from exchanging stores, until the block ends.

    RocksDB holds a lock of the process on the file LOCK as long as a store is open; so do we.

    Raises:
        HomeInUse: another process has it open, or is exchanging stores.
    """
    with ExitStack() as stack:
        try:
            _lock(stack, store.with_name(f"{store.name}.swap.lock"))
            if store.exists():
                _lock(stack, store / "LOCK")
        except OSError as error:
            raise HomeInUse(f"another worker still has {store} open: stop it (`neardup down`)") from error
        yield


def _lock(stack: ExitStack, path: Path) -> None:
    fcntl.lockf(stack.enter_context(path.open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
