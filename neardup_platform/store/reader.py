"""The store as any other process follows it: a RocksDB secondary that shows one moment at a time."""

import threading
from pathlib import Path

from rocksdict import AccessType, Rdict

from neardup_platform.errors import ServerUnavailable
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView, rocksdb_options

# A flush takes longer than an opening, so a second one in a row is rare.
_OPENINGS = 10


class StoreReader(StoreView):
    """A secondary: sees what the writer had committed at the last `refresh`.

    Reads inside `with reader.consistent():` see one such moment, because `refresh` waits for them.

    Raises:
        ServerUnavailable: the worker has not made its store yet.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._path, self._scratch = path, scratch
        super().__init__(self._open())
        self._moment = threading.RLock()
        self._settle()

    def _open(self) -> Rdict:
        access = AccessType.secondary(str(self._scratch))
        try:
            # Looked at before opening: if another store takes its place meanwhile, the next refresh sees that.
            self._folder = self._path.stat().st_ino
            return Rdict(str(self._path), rocksdb_options(), access_type=access)
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            raise ServerUnavailable(f"no store to read at {self._path} yet: {error}") from error

    def _reopen(self) -> None:
        fresh = self._open()
        self._db.close()
        self._db = fresh

    def _is_replaced(self) -> bool:
        """Whether another store lies at the path now: RocksDB would read its files as if they were of this one."""
        try:
            return self._path.stat().st_ino != self._folder
        except FileNotFoundError:
            return True

    def consistent(self) -> threading.RLock:
        """A lock to hold across reads that must agree with one another."""
        return self._moment

    def refresh(self) -> None:
        """Catch up with the writer.

        Raises:
            ServerUnavailable: the writer flushed so often that no single moment could be read, or another store is
                just taking the place of this one; the next call may.
        """
        with self._moment:
            if not self._is_replaced():
                self._db.try_catch_up_with_primary()
            if self._is_replaced():
                self._reopen()
            self._settle()

    def _settle(self) -> None:
        """Open anew until everything read is of one moment.

        RocksDB reads the list of files, then the log. Where the writer flushes between the two, what was flushed is in
        neither as this reader has them; and commits flushed before they could be read from the log leave older values
        in its memtable, in front of the newer ones in the files. An opening can meet a flush as well as a refresh.
        """
        for _ in range(_OPENINGS):
            if self._is_one_moment():
                return
            self._reopen()
        raise ServerUnavailable(f"the store at {self._path} changed {_OPENINGS} times while it was opened; try again")

    def _is_one_moment(self) -> bool:
        """Whether the totals, part of every commit, are those of the newest commit (docs/adr/0006).

        The keys of earlier commits are deleted and in the way until they are compacted, so none of them is looked at.
        """
        last = self.state().commit
        commits = [layout.number_of(key) for key, _ in self._scan(Table.COMMIT, b"", layout.number_key(last))]
        return commits == ([last] if last else [])
