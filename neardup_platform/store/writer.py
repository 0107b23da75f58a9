"""The store as its one writer, the stream worker, has it: changes in batches, each atomic."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from uuid import uuid4

from rocksdict import Checkpoint, Rdict, WriteBatch

from neardup_platform.errors import HomeInUse, SetupError
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.purge import Purger, Span, all_of
from neardup_platform.store.view import StoreView, rocksdb_options
from neardup_platform.wire import neardup_pb2 as pb

_FORMAT_OF_OTHER_RECENT_KEYS = 3
_MIGRATED_AT_ONCE = 10_000


class Batch:
    """Changes that reach the disk together or not at all."""

    def __init__(self) -> None:
        self.raw = WriteBatch(raw_mode=True)

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set one value."""
        self.raw.put(table.value + key, value)

    def delete(self, table: Table, key: bytes) -> None:
        """Remove one key; it need not be there."""
        self.raw.delete(table.value + key)

    def clear(self, table: Table) -> None:
        """Remove every key of a table that was there before this batch."""
        self.raw.delete_range(table.value, bytes([table.value[0] + 1]))

    def put_state(self, state: pb.StoreState) -> None:
        """Set the totals."""
        self.put(Table.STATE, b"", state.SerializeToString())


class Store(StoreView):
    """The writer's view.

    Raises:
        HomeInUse: another process has the store open.
        SetupError: the store was written in another format.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            db = Rdict(str(path), rocksdb_options())
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            if "lock" in str(error).lower():
                raise HomeInUse(
                    f"another worker has {path} open: stop it (`neardup down`), or use another NEARDUP_HOME"
                ) from error
            raise SetupError(f"opening the store at {path} failed: {error}") from error
        super().__init__(db)
        if self._get(Table.STATE, b"") is None:
            batch = Batch()
            batch.put_state(pb.StoreState(format=layout.FORMAT, digest=bytes(16), store_id=uuid4().hex, outbox_first=1))
            self.write(batch)
        self._migrate()
        found = self.state().format
        if found != layout.FORMAT:
            super().close()
            raise SetupError(
                f"the store at {path} has format {found}, this version reads {layout.FORMAT}: "
                "use the version that wrote it, or another NEARDUP_HOME"
            )
        self._purger = Purger(db)
        self._purger.resume([key for key, _ in self._scan(Table.PURGES, b"", b"")])

    def purge(self, number: int, spans: Sequence[Span]) -> None:
        """Get off the disk, soon, what was deleted in these spans of keys.

        Args:
            number: of the command whose commit put it into table PURGES.
            spans: first key and the one after the last, each with its table's prefix.
        """
        self._purger.purge(layout.number_key(number), spans)

    @property
    def purge_problem(self) -> str:
        """Why deleted bytes are still on the disk; empty when the last purge succeeded."""
        return self._purger.problem

    def purged(self) -> None:
        """Return when every purge so far is done."""
        self._purger.wait()

    def close(self) -> None:
        """Stop purging and release the files."""
        self._purger.close()
        super().close()

    def _migrate(self) -> None:
        stored = self.stored_format()
        new = self.state()
        if new.format == stored:
            return
        if stored <= _FORMAT_OF_OTHER_RECENT_KEYS:
            self._rewrite_recent()
            first = next(self.outbox(), None)
            new.outbox_first = new.outbox_number + 1 if first is None else first[0]
        batch = Batch()
        batch.put_state(new)
        self.write(batch)

    def _rewrite_recent(self) -> None:
        """Rewrite the table in its new layout, in several writes; an interrupted rewrite starts over."""
        begin, end = all_of(Table.RECENT)
        batch = Batch()
        batch.clear(Table.RECENT)
        self.write(batch)
        listed = ((head, record.updated_sequence) for head, record in self.all_clusters() if record.size > 1)
        while part := list(islice(listed, _MIGRATED_AT_ONCE)):
            batch = Batch()
            for head, sequence in part:
                batch.put(Table.RECENT, layout.recent_key(head, sequence), layout.number_key(sequence))
            self.write(batch)
        # A range deleted is looked through by every later read until it is compacted.
        self.flush()
        self._db.compact_range(begin, end)

    def write(self, batch: Batch) -> None:
        """Apply all changes atomically; they survive the death of this process from here on.

        Raises:
            SetupError: the disk is full or broken; nothing of the batch is visible.
        """
        try:
            self._db.write(batch.raw)
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            raise SetupError(
                f"writing to the store failed: {error}; free some disk under NEARDUP_HOME and it goes on"
            ) from error

    def sync(self) -> None:
        """Return when everything written before survives a power cut; safe beside the writer.

        Raises:
            SetupError: the disk is full or broken.
        """
        try:
            self._db.flush_wal(sync=True)
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            raise SetupError(f"syncing the store failed: {error}; look after the disk under NEARDUP_HOME") from error

    def flush(self) -> None:
        """Return when everything written lies in files that never change; safe beside the writer.

        Raises:
            SetupError: the disk is full or broken.
        """
        try:
            self._db.flush(wait=True)
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            raise SetupError(f"flushing the store failed: {error}; free some disk under NEARDUP_HOME") from error

    def checkpoint(self, folder: Path) -> None:
        """A copy of this moment, of hard links to files that never change; quick after a `flush`.

        Args:
            folder: on the same disk; it must not be there.

        Raises:
            SetupError: the disk is full or broken.
        """
        try:
            Checkpoint(self._db).create_checkpoint(str(folder))
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            raise SetupError(f"a checkpoint at {folder} failed: {error}; free some disk under NEARDUP_HOME") from error
