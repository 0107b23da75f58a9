"""Replaces one store by another with renames. A kill at any point leaves them undone, or the next start completes them.

| in NEARDUP_HOME | |
|---|---|
| `store/` | the active store |
| `store.next/` | the next store; complete and synced once the marker exists, a leftover without it |
| `store.before/` | the store that was active before the last swap; kept until the next one, to go back to |
| `store.swap.json` | the marker: the swap is decided |
| `store.swap.lock` | locked by the process that swaps |

No process may have a store open while it is renamed, because RocksDB works with paths. So the worker writes the marker
and ends its run, and the next start renames before it opens anything.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock

from neardup_platform.errors import HomeInUse, InvariantBroken
from neardup_platform.files import read_sealed, sync_folder, sync_tree, write_sealed

log = logging.getLogger(__name__)


def next_path(store: Path) -> Path:
    """Return where the next store is built."""
    return store.with_name(f"{store.name}.next")


def before_path(store: Path) -> Path:
    """Return where the previous store is kept."""
    return store.with_name(f"{store.name}.before")


def decide_swap(store: Path, why: str) -> None:
    """Write the marker. From here on the next start swaps the stores, whatever happens.

    Args:
        store: the active store; nothing may be written to it any more.
        why: for the log of the next start.

    Raises:
        OSError: the disk is full or broken; nothing is decided.
    """
    sync_tree(next_path(store))
    write_sealed(_marker(store), {"why": why})


def complete_swap(store: Path) -> bool:
    """Swap the stores if that is decided; call it at start, before the store is opened. Return whether it was.

    Raises:
        HomeInUse: another process still has the store open.
        InvariantBroken: the marker is damaged, or the next store is gone.
    """
    try:
        marker = read_sealed(_marker(store))
    except ValueError as error:
        raise InvariantBroken(f"{_marker(store)} is damaged ({error}): delete it to continue with {store}") from error
    if marker is None:
        _remove(next_path(store))
        return False
    with _closed(store):
        _rename(store)
    log.info("another store is active: %s; the previous one is kept as %s", marker["why"], before_path(store).name)
    return True


def _rename(store: Path) -> None:
    if next_path(store).exists():
        if store.exists():
            _remove(before_path(store))
            store.rename(before_path(store))
        next_path(store).rename(store)
        sync_folder(store.parent)
    elif not store.exists():
        raise InvariantBroken(f"neither {store} nor {next_path(store)} exists: restore a backup")
    _marker(store).unlink()
    sync_folder(store.parent)


def copy_store(source: Path, target: Path) -> None:
    """Copy the folder of a store that no process has open. Immutable files are linked."""
    _remove(target)
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.suffix == ".sst":
            os.link(path, target / path.name)
        elif path.is_file() and path.name != "LOCK":
            shutil.copyfile(path, target / path.name)


def remove_next(store: Path) -> None:
    """Remove what a failed attempt left behind."""
    _remove(next_path(store))


def _marker(store: Path) -> Path:
    return store.with_name(f"{store.name}.swap.json")


@contextmanager
def _closed(store: Path) -> Iterator[None]:
    """Keep other processes from opening or swapping the store until the block ends.

    RocksDB locks the file LOCK while a store is open, and so does this.

    Raises:
        HomeInUse: another process has it open or is swapping it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(store.with_name(f"{store.name}.swap.lock"), timeout=0, fallback_to_soft=False))
            if store.exists():
                # A POSIX record lock, as RocksDB takes: filelock uses flock, which does not conflict with it.
                fcntl.lockf(stack.enter_context((store / "LOCK").open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # also filelock.Timeout
            raise HomeInUse(f"another worker still has {store} open: stop it (`neardup down`)") from error
        yield


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
