"""The store as every other process follows it: a RocksDB secondary that shows one moment at a time."""

import threading
from pathlib import Path

from rocksdict import AccessType, Rdict

from neardup_platform.errors import ServerUnavailable
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView, rocksdb_options

# A flush takes longer than opening the store, so a second one in a row is rare.
_MAX_OPENINGS = 10


class SecondaryStore(StoreView):
    """A secondary. It shows what the writer had committed at the last `refresh`.

    Reads inside `with reader.consistent():` see one moment, because `refresh` waits for them.

    Raises:
        ServerUnavailable: the worker has not created its store yet.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._path, self._scratch = path, scratch
        self._verified = 0
        super().__init__(self._open())
        self._moment = threading.RLock()
        self._reopen_until_consistent()

    def consistent(self) -> threading.RLock:
        """Return a lock to hold across reads that must agree with one another."""
        return self._moment

    def refresh(self) -> None:
        """Catch up with the writer.

        Raises:
            ServerUnavailable: the writer flushed so often that no single moment could be read, or the store is just
                being replaced by another one. The next call may succeed.
        """
        with self._moment:
            if not self._is_replaced():
                self._tables.db.try_catch_up_with_primary()
            if self._is_replaced():
                self._reopen()
            self._reopen_until_consistent()

    def _open(self) -> Rdict:
        access = AccessType.secondary(str(self._scratch))
        try:
            # Taken before opening: if another store replaces this one meanwhile, the next refresh notices.
            self._folder = self._path.stat().st_ino
            options = rocksdb_options()
            # RocksDB starts as many threads at each refresh, 15 more by default, whether or not there are new files:
            # that takes ten times as long as the refresh itself.
            options.set_max_file_opening_threads(1)
            return Rdict(str(self._path), options, access_type=access)
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            raise ServerUnavailable(f"no store to read at {self._path} yet: {error}") from error

    def _reopen(self) -> None:
        fresh = self._open()
        self._tables.db.close()
        self._tables.db, self._verified = fresh, 0

    def _is_replaced(self) -> bool:
        """Return whether the path holds another store now. RocksDB would read its files as part of this one."""
        try:
            return self._path.stat().st_ino != self._folder
        except FileNotFoundError:
            return True

    def _reopen_until_consistent(self) -> None:
        """Reopen the store until everything read is from one moment.

        RocksDB reads the list of files, then the log. If the writer flushes in between, the flushed commits are in
        neither as seen here. Commits flushed before they could be read from the log leave older values in this
        reader's memtable, which hide the newer ones in the files. Both happen on opening as well as on refreshing.
        """
        for _ in range(_MAX_OPENINGS):
            if self._is_one_moment():
                return
            self._reopen()
        raise ServerUnavailable(
            f"the store at {self._path} changed {_MAX_OPENINGS} times while it was opened; try again"
        )

    def _is_one_moment(self) -> bool:
        """Return whether no commit is missing up to that of the totals, which are part of every commit (docs/adr/0006).

        A commit writes its own key and deletes the one before, so a key beside the last one shows that the commit after
        it is missing. Deleted keys are slow to step over until they are compacted: the scan starts at the last commit
        verified, and at the first one after opening.
        """
        last = self.state().commit
        start = layout.number_key(self._verified)
        commits = [layout.number_of(key) for key, _ in self._tables.scan(Table.COMMIT, start=start)]
        if commits != ([last] if last else []):
            return False
        self._verified = last
        return True
