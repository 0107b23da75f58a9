"""Gets deleted bytes off the disk soon, where RocksDB alone would keep them until a compaction happens to pass.

A deleted key only hides its value. Flushing ends the log that has the value, compacting the range writes the files
that have it anew without it. Both run in a thread of their own beside the writer. A purge is noted in the commit that
deletes, and the note removed when it is done; where a note is found at opening, its ranges are no longer known, and the
whole store is compacted.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from rocksdict import Rdict

from neardup_platform.store.layout import Table

log = logging.getLogger(__name__)

Span = tuple[bytes, bytes]


class Purger:
    """Compacts what the writer deleted, one purge after the other.

    Attributes:
        problem: why the last purge failed; empty when it did not.
    """

    def __init__(self, db: Rdict) -> None:
        self._db = db
        self._thread = ThreadPoolExecutor(1, "purge")
        self._last: Future[None] | None = None
        self._closing = False
        self.problem = ""

    def resume(self, notes: Sequence[bytes]) -> None:
        """Compact everything, if purges were noted by a process that did not come to do them."""
        if notes:
            log.info("%d purges were left undone: the whole store is compacted", len(notes))
            self._last = self._thread.submit(self._purge, notes, [all_of(table) for table in Table])

    def purge(self, note: bytes, spans: Sequence[Span]) -> None:
        """Rewrite the files without what was deleted between the first and before the last key of each span."""
        self._last = self._thread.submit(self._purge, [note], spans)

    def wait(self) -> None:
        """Return when all that was asked for is done."""
        if self._last is not None:
            self._last.result()

    def close(self) -> None:
        """Wait for the range under way, since cancelling would keep RocksDB from closing; the rest stays noted."""
        self._closing = True
        self._thread.shutdown(cancel_futures=True)

    def _purge(self, notes: Sequence[bytes], spans: Sequence[Span]) -> None:
        try:
            self._db.flush()
            for first, end in spans:
                if self._closing:
                    return
                self._db.compact_range(first, end)
            for note in notes:
                self._db.delete(Table.PURGES.value + note)
            self.problem = ""
        except Exception as error:  # noqa: BLE001 -- rocksdict raises bare Exception with RocksDB's text
            self.problem = f"{type(error).__name__}: {error}"
            log.warning("purging deleted bytes failed, the next start tries again: %s", error)


def all_of(table: Table) -> Span:
    """Every key of a table."""
    return table.value, bytes([table.value[0] + 1])
