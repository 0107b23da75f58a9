"""Keeps a secondary of the worker's store fresh, and reports how fresh it is.

The API may start before the worker has created its store, and outlives workers.
"""

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from neardup_platform.errors import ServerUnavailable
from neardup_platform.store.secondary import SecondaryStore

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)

# An answer is never older than this; users rely on it.
MAX_AGE_S = 1.0
_SCRATCH = "api-"
_OPEN_RETRY_S = 0.2


class StoreFollower:
    """A secondary that is opened once the store exists and refreshed by a thread.

    Args:
        store_path: the worker's store.
        home: the secondary's scratch folder, `api-<pid>`, is created here.
        refresh_ms: pause between two refreshes.
    """

    def __init__(self, store_path: Path, home: Path, refresh_ms: int) -> None:
        self._store_path = store_path
        self._scratch = home / f"{_SCRATCH}{os.getpid()}"
        self._refresh_s = refresh_ms / 1_000
        self._reader: SecondaryStore | None = None
        self._problem = f"the worker has not created its store at {store_path} yet"
        self._fresh_at = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="store-follower", daemon=True)

    def start(self) -> None:
        """Remove scratch folders of dead API processes, and start to follow."""
        remove_stale_scratch(self._scratch.parent)
        self._thread.start()

    def close(self) -> None:
        """Stop following and remove the scratch folder."""
        self._stop.set()
        self._thread.join()
        reader, self._reader = self._reader, None
        if reader is not None:
            with reader.consistent():
                reader.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    @contextlib.contextmanager
    def reading(self) -> Iterator[SecondaryStore]:
        """The store, unchanged until the block ends.

        Raises:
            ServerUnavailable: there is no store yet.
        """
        reader = self._reader
        if reader is None:
            raise ServerUnavailable(self._problem)
        with reader.consistent():
            if self._reader is not reader:
                raise ServerUnavailable("the store is being closed")
            yield reader

    def read(self, answer: Callable[[SecondaryStore], Answer]) -> Answer:
        """Call `answer` with the store as of one moment.

        Raises:
            ServerUnavailable: there is no store yet.
        """
        with self.reading() as store:
            return answer(store)

    @property
    def scratch(self) -> Path:
        """A folder for files that are thrown away; it exists once the store is open, and is removed on closing."""
        return self._scratch

    @property
    def is_open(self) -> bool:
        """Whether there is a store to read."""
        return self._reader is not None

    @property
    def age_s(self) -> float:
        """Seconds since what readers see was known to be current; inf before the store is open."""
        return time.monotonic() - self._fresh_at

    @property
    def problem(self) -> str:
        """Why the last attempt to open or refresh failed; empty if it did not."""
        return self._problem

    def _follow(self) -> None:
        while not self._stop.is_set():
            if self._reader is None:
                self._open()
            else:
                self._refresh(self._reader)
            self._stop.wait(self._refresh_s if self._reader else _OPEN_RETRY_S)

    def _open(self) -> None:
        # RocksDB writes CURRENT last when it creates a store.
        if not (self._store_path / "CURRENT").exists():
            return
        begun = time.monotonic()
        try:
            self._reader = SecondaryStore(self._store_path, self._scratch)
        except ServerUnavailable as error:
            self._note(str(error))
            return
        except Exception as error:  # noqa: BLE001 -- a full disk, a damaged file: only this thread can try again
            self._note(f"opening {self._store_path} failed: {type(error).__name__}: {error}")
            return
        self._fresh_at = begun
        self._note("")
        log.info("reading the store at %s", self._store_path)

    def _refresh(self, reader: SecondaryStore) -> None:
        begun = time.monotonic()
        try:
            reader.refresh()
        except Exception as error:  # noqa: BLE001 -- rocksdict raises bare Exception with RocksDB's text
            self._note(f"refreshing from {self._store_path} failed: {error}")
            return
        self._fresh_at = begun
        self._note("")

    def _note(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("%s", problem)
        elif self._problem and not problem:
            log.info("the store can be read")
        self._problem = problem


def remove_stale_scratch(home: Path, prefix: str = _SCRATCH) -> None:
    """Remove scratch folders, named by prefix and process id, of processes that no longer exist."""
    for folder in home.glob(f"{prefix}*"):
        pid = folder.name.removeprefix(prefix)
        if pid.isdigit() and not _exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
