"""Gets deleted bytes off the disk soon. RocksDB alone keeps them until it happens to compact their files.

A deleted key only hides its value. Flushing ends the log that holds the value, and compacting the range rewrites the
files that hold it. Both run in a thread beside the writer. The commit that deletes also notes the purge, and the note
is removed when the purge is done. If a note is found on opening, its ranges are no longer known, so the whole store is
compacted.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from rocksdict import Rdict

from neardup_platform.store.layout import Table

log = logging.getLogger(__name__)

# First key, and the key after the last.
Span = tuple[bytes, bytes]


class Purger:
    """Compacts what the writer deleted. Purges that wait are done together: one flush, and most files rewritten once.

    Attributes:
        problem: why the last purge failed; empty if it succeeded.
    """

    def __init__(self, db: Rdict) -> None:
        self._db = db
        self._thread = ThreadPoolExecutor(1, "purge")
        self._last: Future[None] | None = None
        self._lock = threading.Lock()
        self._waiting: list[tuple[bytes, Sequence[Span]]] = []
        self._closing = False
        self.problem = ""

    def resume(self, notes: Sequence[bytes]) -> None:
        """Compact the whole store if an earlier process noted purges and did not finish them."""
        if notes:
            log.info("%d purges were left undone: the whole store is compacted", len(notes))
            self._last = self._thread.submit(self._purge, notes, [all_of(table) for table in Table])

    def purge(self, note: bytes, spans: Sequence[Span]) -> None:
        """Rewrite the files without the deleted keys in these spans, in the background."""
        with self._lock:
            self._waiting.append((note, spans))
        self._last = self._thread.submit(self._purge_waiting)

    def wait(self) -> None:
        """Wait for every purge so far."""
        if self._last is not None:
            self._last.result()

    def close(self) -> None:
        """Wait for the range in progress, because cancelling it keeps RocksDB from closing. The rest stays noted."""
        self._closing = True
        self._thread.shutdown(cancel_futures=True)

    def _purge_waiting(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, []
        if taken:
            self._purge([note for note, _ in taken], sorted({span for _, spans in taken for span in spans}))

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
    """Return the span of every key in a table."""
    return table.value, bytes([table.value[0] + 1])
