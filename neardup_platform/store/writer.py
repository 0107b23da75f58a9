"""The store as its only writer, the stream worker, opens it: changes in atomic batches."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from uuid import uuid4

from rocksdict import Checkpoint, IngestExternalFileOptions, Rdict, SstFileWriter, WriteBatch

from neardup_platform.errors import HomeInUse, SetupError
from neardup_platform.store import layout
from neardup_platform.store.compactions import Compactions
from neardup_platform.store.layout import Table
from neardup_platform.store.purge import Purger, Span, all_of
from neardup_platform.store.store_pb2 import ImageRecord, StoreState, Touched
from neardup_platform.store.view import StoreView, rocksdb_options

# The last format with other keys in RECENT and no `outbox_first`.
_OLD_RECENT_FORMAT = 3
_MIGRATED_PER_WRITE = 10_000


class Changes(ABC):
    """Keys to put and to delete, which reach the disk together or not at all.

    Attributes:
        touched: the ordinals of images whose records or vectors it changes.
        is_noted: whether it notes them in table TOUCHED itself.
    """

    def __init__(self) -> None:
        self.touched: set[int] = set()
        self.is_noted = False

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set one value."""
        self._put(table.value + key, value)
        self._touch(table, key, value)

    def delete(self, table: Table, key: bytes) -> None:
        """Remove one key. It need not exist."""
        self._delete(table.value + key)
        self._touch(table, key)

    def put_state(self, state: StoreState) -> None:
        """Set the totals."""
        self.put(Table.STATE, b"", state.SerializeToString())

    @abstractmethod
    def _put(self, key: bytes, value: bytes) -> None:
        """Set a value by its key with the prefix of its table."""

    @abstractmethod
    def _delete(self, key: bytes) -> None:
        """Remove such a key."""

    def _touch(self, table: Table, key: bytes, value: bytes = b"") -> None:
        """Note whose record or vectors a change is of. The record of an image goes together with its vectors."""
        if table is Table.VECTORS:
            self.touched.add(layout.number_of(key))
        elif table is Table.IMAGES and value:
            self.touched.add(ImageRecord.FromString(value).ordinal)


class Batch(Changes):
    """Changes that are written to the log, ranges of keys among them."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = WriteBatch(raw_mode=True)

    def clear(self, table: Table) -> None:
        """Remove every key that the table had before this batch."""
        self.raw.delete_range(*all_of(table))

    def clear_id(self, table: Table, of: str) -> None:
        """Remove every `sequence_key` of an id that the table had before this batch."""
        prefix = table.value + layout.id_prefix(of)
        self.raw.delete_range(prefix, layout.after_prefix(prefix))

    def _put(self, key: bytes, value: bytes) -> None:
        self.raw.put(key, value)

    def _delete(self, key: bytes) -> None:
        self.raw.delete(key)


class IngestBatch(Changes):
    """Changes that reach the disk together with table files (SSTs) that another process has written.

    RocksDB takes in all files of a call at one moment, and where two have a key the later file counts. So the changes
    are written as files, one for each table, which are the last of the call. A file for each table, because RocksDB
    puts files that overlap earlier ones at the top, where they slow reads down until they are compacted. Files have no
    deleted ranges.

    Args:
        files: the table files; they are moved into the store.
        folder: for the files of the changes, on the same disk.
    """

    def __init__(self, files: Sequence[Path], folder: Path) -> None:
        super().__init__()
        self._files, self._folder = files, folder
        self._changes: dict[bytes, bytes | None] = {}

    def write_files(self) -> list[str]:
        """Write the changes, and return all files in the order in which they count."""
        return [*map(str, self._files), *map(str, write_changes(self._changes, self._folder))]

    def _put(self, key: bytes, value: bytes) -> None:
        self._changes[key] = value

    def _delete(self, key: bytes) -> None:
        self._changes[key] = None


def write_changes(changes: Mapping[bytes, bytes | None], folder: Path) -> list[Path]:
    """Write changes as files for an ingestion, one for each table; returns their paths.

    Args:
        changes: values by key with the prefix of its table; None deletes the key.
        folder: is created if it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for table, keys in groupby(sorted(changes), lambda key: key[0]):
        path = folder / f"changes-{table:02x}.sst"
        path.unlink(missing_ok=True)
        writer = SstFileWriter(rocksdb_options())
        writer.open(str(path))
        for key in keys:
            value = changes[key]
            if value is None:
                del writer[key]
            else:
                writer[key] = value
        writer.finish()
        paths.append(path)
    return paths


class Store(StoreView):
    """The store, open for reading and writing.

    Attributes:
        compactions: those in the background.

    Raises:
        HomeInUse: another process has the store open.
        SetupError: the store has a format that this version does not read.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Named, because rocksdict opens an existing column family with the options that it was created with.
            db = Rdict(str(path), rocksdb_options(), column_families={"default": rocksdb_options()})
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            if "lock" in str(error).lower():
                raise HomeInUse(
                    f"another worker has {path} open: stop it (`neardup down`), or use another NEARDUP_HOME"
                ) from error
            raise SetupError(f"opening the store at {path} failed: {error}") from error
        super().__init__(db)
        self.compactions = Compactions(db)
        if self._tables.get(Table.STATE, b"") is None:
            batch = Batch()
            batch.put_state(StoreState(format=layout.FORMAT, digest=bytes(16), store_id=uuid4().hex, outbox_first=1))
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
        self._purger.resume([key for key, _ in self.scan(Table.PURGES)])

    def write(self, batch: Batch | IngestBatch) -> None:
        """Apply all changes atomically. From here on they survive the death of this process.

        Changes of images that are not noted make every checkpoint unusable (image_table/checkpoint.py).

        Raises:
            SetupError: the disk is full or broken; nothing of the batch is visible.
        """
        if batch.touched and not batch.is_noted:
            batch.put(Table.TOUCHED, layout.UNNOTED_KEY, Touched(all=True).SerializeToString())
        with _rocksdb("writing to the store failed", "free some disk under NEARDUP_HOME and it continues"):
            if isinstance(batch, IngestBatch):
                options = IngestExternalFileOptions()
                options.set_move_files(True)
                self._tables.db.ingest_external_file(batch.write_files(), options)
            else:
                self._tables.db.write(batch.raw)

    def sync(self) -> None:
        """Wait until every earlier write survives a power cut. Safe in other threads than the writer's.

        Raises:
            SetupError: the disk is full or broken.
        """
        with _rocksdb("syncing the store failed", "check the disk under NEARDUP_HOME"):
            self._tables.db.flush_wal(sync=True)

    def flush(self) -> None:
        """Wait until every earlier write is in immutable files. Safe in other threads than the writer's.

        Raises:
            SetupError: the disk is full or broken.
        """
        with _rocksdb("flushing the store failed", "free some disk under NEARDUP_HOME"):
            self._tables.db.flush(wait=True)

    def checkpoint(self, folder: Path) -> None:
        """Copy the current state as hard links to immutable files. Fast after a `flush`.

        Args:
            folder: on the same disk; it must not exist.

        Raises:
            SetupError: the disk is full or broken.
        """
        with _rocksdb(f"a checkpoint at {folder} failed", "free some disk under NEARDUP_HOME"):
            Checkpoint(self._tables.db).create_checkpoint(str(folder))

    def purge(self, number: int, spans: Sequence[Span]) -> None:
        """Get deleted keys and values off the disk, in the background.

        Args:
            number: of the command whose commit put it into table PURGES.
            spans: first key, and the key after the last, each with the prefix of its table.
        """
        self._purger.purge(layout.number_key(number), spans)

    @property
    def purge_problem(self) -> str:
        """Why deleted bytes are still on the disk; empty if the last purge succeeded."""
        return self._purger.problem

    def purged(self) -> None:
        """Wait for every purge so far."""
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
        if stored <= _OLD_RECENT_FORMAT:
            self._rewrite_recent()
            first = next(self.outbox.pending(), None)
            new.outbox_first = new.outbox_number + 1 if first is None else first[0]
        batch = Batch()
        batch.put_state(new)
        self.write(batch)

    def _rewrite_recent(self) -> None:
        """Rewrite table RECENT in its new layout. An interrupted rewrite starts over."""
        batch = Batch()
        batch.clear(Table.RECENT)
        self.write(batch)
        listed = ((head, record.updated_sequence) for head, record in self.clusters.all() if record.size > 1)
        for part in _chunks(listed):
            batch = Batch()
            for head, sequence in part:
                batch.put(Table.RECENT, layout.recent_key(head, sequence), layout.number_key(sequence))
            self.write(batch)
        # Every later read steps over a deleted range until it is compacted.
        self.flush()
        self._tables.db.compact_range(*all_of(Table.RECENT))


def _chunks(rows: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    rest = iter(rows)
    while part := list(islice(rest, _MIGRATED_PER_WRITE)):
        yield part


@contextmanager
def _rocksdb(failed: str, advice: str) -> Iterator[None]:
    """Raise RocksDB's errors as `SetupError`."""
    try:
        yield
    except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
        raise SetupError(f"{failed}: {error}; {advice}") from error
