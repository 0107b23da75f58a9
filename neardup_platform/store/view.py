"""A readable store: the same interface for the writer, for a secondary and for a checkpoint."""

import logging
from collections.abc import Iterator
from pathlib import Path

from rocksdict import AccessType, BlockBasedOptions, Options, Rdict

from neardup_platform.errors import SetupError
from neardup_platform.store.layout import Table
from neardup_platform.store.readers.clusters import ClusterReader, MemberReader, RedirectReader
from neardup_platform.store.readers.commands import CommandReader, HashReader, LabelReader, OverrideReader
from neardup_platform.store.readers.images import HistoryReader, ImageReader, TouchedReader, VectorReader
from neardup_platform.store.readers.state import StateReader
from neardup_platform.store.readers.stream import OutboxReader, PositionReader, UnpairedReader
from neardup_platform.store.store_pb2 import StoreState
from neardup_platform.store.tables import Tables

log = logging.getLogger(__name__)


class StoreView:
    """Reads one store, by subject.

    Attributes:
        images: records of images; forgotten images.
        vectors: vectors by ordinal.
        touched: what commits have changed of known images.
        history: decisions by image.
        clusters: records of clusters; recently changed clusters.
        members: members by head.
        redirects: previous heads.
        overrides: active overrides.
        labels: labels of images, by bank.
        hashes: PDQ hashes, by bank.
        commands: handled commands, progress of long ones, promotions.
        positions: where reading the topics continues.
        unpaired: embeddings that wait for their partner.
        outbox: messages to publish.
    """

    def __init__(self, db: Rdict) -> None:
        self._tables = tables = Tables(db)
        self.images = ImageReader(tables)
        self.vectors = VectorReader(tables)
        self.touched = TouchedReader(tables)
        self.history = HistoryReader(tables, self.images)
        self.clusters = ClusterReader(tables, self.images)
        self.members = MemberReader(tables)
        self.redirects = RedirectReader(tables, self.clusters)
        self.overrides = OverrideReader(tables)
        self.labels = LabelReader(tables)
        self.hashes = HashReader(tables)
        self.commands = CommandReader(tables)
        self.positions = PositionReader(tables)
        self.unpaired = UnpairedReader(tables)
        self._state = StateReader(tables)
        self.outbox = OutboxReader(tables, self._state)

    def state(self) -> StoreState:
        """Return totals, versions and digest."""
        return self._state.get()

    def stored_format(self) -> int:
        """Return the format that the store was last written in."""
        return self._state.stored().format

    def scan(self, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and value of a table as stored, in order of key."""
        return self._tables.scan(table)

    def close(self) -> None:
        """Release the files. Committed data is in RocksDB's log, so a failure here costs nothing."""
        try:
            self._tables.db.close()
        except Exception as error:  # noqa: BLE001 -- rocksdict raises bare Exception with RocksDB's text
            log.warning("closing the store failed: %s", error)


# Of a load of a billion images.
_MOST_TOP_FILES = 20_000


def open_checkpoint(folder: Path) -> StoreView:
    """Open a checkpoint for reading.

    Raises:
        SetupError: it is not a store.
    """
    try:
        return StoreView(Rdict(str(folder), rocksdb_options(), access_type=AccessType.read_only()))
    except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
        raise SetupError(f"opening the checkpoint {folder} failed: {error}") from error


def rocksdb_options() -> Options:
    """Return the options that every process opens the store with."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    # A secondary must hold every file open, or it fails when the writer deletes one after compaction.
    options.set_max_open_files(-1)
    options.set_keep_log_file_num(5)
    # With dynamic sizes, data is in the last level alone at first, in files that begin in one table and end in another.
    # No file that is taken in fits between them: all are put at the top, and compacted with as much disk again.
    options.set_level_compaction_dynamic_level_bytes(False)
    # They are put there, too, if a compaction runs at that moment. By default 36 would stop every write until they are
    # compacted, which takes minutes for millions of images. Commits are small, and their files do not pile up.
    options.set_level_zero_slowdown_writes_trigger(_MOST_TOP_FILES)
    options.set_level_zero_stop_writes_trigger(_MOST_TOP_FILES)
    # Most lookups are for new images. With ten bits per key, 99% of the files that lack the key are not read.
    table = BlockBasedOptions()
    table.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(table)
    return options
