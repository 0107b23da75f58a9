"""The store in RocksDB: one writer (the stream worker), any number of secondary readers.

Raw mode throughout: keys and values are the bytes of `layout.py`, nothing is ever pickled.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from rocksdict import AccessType, BlockBasedOptions, Checkpoint, Options, Rdict, WriteBatch

from neardup_platform.clusters import layout
from neardup_platform.clusters.layout import Table
from neardup_platform.clusters.rocksdb_purge import Purger, Span
from neardup_platform.errors import HomeInUse, InvariantBroken, NotFound, ServerUnavailable, SetupError
from neardup_platform.messages import neardup_pb2 as pb
from neardup_platform.records import Kind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """Some members of a cluster, oldest first. `cursor` continues after the last one; None at the end."""

    image_ids: tuple[str, ...]
    cursor: int | None


class StoreView:
    """Reads; the same for the writer and for a secondary."""

    def __init__(self, db: Rdict) -> None:
        self._db = db

    def state(self) -> pb.StoreState:
        """Totals, versions and digest."""
        data = self._get(Table.STATE, b"")
        return migrated(pb.StoreState.FromString(data or b""))

    def image(self, image_id: str) -> pb.ImageRecord | None:
        """The record of an image, or None when it has not been decided."""
        data = self._get(Table.IMAGES, image_id.encode())
        return pb.ImageRecord.FromString(data) if data is not None else None

    def images(self, image_ids: list[str]) -> list[pb.ImageRecord | None]:
        """Many records at once, in the order asked for."""
        found = self._get_many(Table.IMAGES, [image_id.encode() for image_id in image_ids])
        return [pb.ImageRecord.FromString(data) if data is not None else None for data in found]

    def all_images(self) -> Iterator[tuple[str, pb.ImageRecord]]:
        """Every image id with its record, in order of id."""
        for key, value in self._scan(Table.IMAGES, b"", b""):
            yield key.decode(), pb.ImageRecord.FromString(value)

    def all_clusters(self) -> Iterator[tuple[str, pb.ClusterRecord]]:
        """Every head with the record of its cluster, in order of head."""
        for key, value in self._scan(Table.CLUSTERS, b"", b""):
            yield key.decode(), pb.ClusterRecord.FromString(value)

    def cluster(self, head: str) -> pb.ClusterRecord:
        """The record of a cluster.

        Raises:
            NotFound: `head` is not the head of a cluster.
        """
        data = self._get(Table.CLUSTERS, head.encode())
        if data is None:
            image = self.image(head)
            hint = f"it is a member of {image.head!r}" if image else "no such image has been decided"
            raise NotFound(f"{head!r} heads no cluster: {hint}")
        return pb.ClusterRecord.FromString(data)

    def has_cluster(self, head: str) -> bool:
        """Whether this is the head of a cluster now."""
        return self._get(Table.CLUSTERS, head.encode()) is not None

    def redirected(self, head: str) -> str:
        """The present head of the cluster that was called `head`; `head` itself where nothing is known of another."""
        now = head
        while not self.has_cluster(now):
            data = self._get(Table.REDIRECTS, layout.hash_key(now))
            if data is None:
                return head
            now = pb.Redirect.FromString(data).head
        return now

    def all_members(self, head: str) -> Iterator[tuple[int, str]]:
        """Every member of a cluster with the sequence it is listed under, in the order they joined."""
        prefix = layout.id_prefix(head)
        for key, value in self._scan(Table.MEMBERS, prefix, prefix):
            yield layout.number_of(key), value.decode()

    def members(self, head: str, limit: int, cursor: int | None = None) -> Page:
        """A page of members in the order they joined; reads `limit` keys however large the cluster is."""
        start = layout.sequence_key(head, 0 if cursor is None else cursor + 1)
        found: list[tuple[int, str]] = []
        for key, value in self._scan(Table.MEMBERS, layout.id_prefix(head), start):
            if len(found) == limit:
                return Page(tuple(image_id for _, image_id in found), found[-1][0])
            found.append((layout.number_of(key), value.decode()))
        return Page(tuple(image_id for _, image_id in found), None)

    def decision(self, image_id: str) -> bytes:
        """The decision in force, as an encoded `Decision`.

        Raises:
            NotFound: the image has not been decided.
            InvariantBroken: it has, but its decision is missing.
        """
        image = self.image(image_id)
        if image is None:
            raise NotFound(f"image {image_id!r} has not been decided")
        data = self._get(Table.HISTORY, layout.sequence_key(image_id, image.sequence))
        if data is None:
            raise InvariantBroken(f"decision {image.sequence} of {image_id!r} is missing from the history")
        return bytes(data)

    def history(self, image_id: str) -> list[bytes]:
        """Every decision made about an image, oldest first, encoded."""
        prefix = layout.id_prefix(image_id)
        return [value for _, value in self._scan(Table.HISTORY, prefix, prefix)]

    def sequences(self, image_id: str) -> list[int]:
        """Sequences of the decisions made about an image, ascending."""
        prefix = layout.id_prefix(image_id)
        return [layout.number_of(key) for key, _ in self._scan(Table.HISTORY, prefix, prefix)]

    def recent_clusters(self, limit: int) -> list[str]:
        """Heads of the clusters of two or more that changed last, newest first."""
        found: list[str] = []
        for _, value in self._scan(Table.RECENT, b"", b""):
            if len(found) == limit:
                break
            found.append(value.decode())
        return found

    def numbered_vectors(self, start: int = 0) -> Iterator[tuple[int, pb.VectorRecord]]:
        """The images' vectors with their ordinals, ascending, from ordinal `start` on."""
        for key, value in self._scan(Table.VECTORS, b"", layout.number_key(start)):
            yield layout.number_of(key), pb.VectorRecord.FromString(value)

    def vectors(self, start: int = 0) -> Iterator[pb.VectorRecord]:
        """The images' vectors, in order of ordinal, from ordinal `start` on."""
        return (record for _, record in self.numbered_vectors(start))

    def find_vector(self, ordinal: int) -> pb.VectorRecord | None:
        """One image's vectors; None where no image has this ordinal, or none any more."""
        data = self._get(Table.VECTORS, layout.number_key(ordinal))
        return pb.VectorRecord.FromString(data) if data is not None else None

    def vector(self, ordinal: int) -> pb.VectorRecord:
        """One image's vectors.

        Raises:
            InvariantBroken: there is none.
        """
        found = self.find_vector(ordinal)
        if found is None:
            raise InvariantBroken(f"no vectors stored for ordinal {ordinal}")
        return found

    def positions(self) -> dict[tuple[str, int], int]:
        """Next offset to read, by topic and partition; nothing of a partition that was never read."""
        return {partition: found.next_offset for partition, found in self._positions() if not found.unread}

    def position(self, partition: tuple[str, int]) -> pb.Position | None:
        """What is known of one partition."""
        data = self._get(Table.POSITIONS, layout.position_key(*partition))
        return pb.Position.FromString(data) if data is not None else None

    def clocks_ms(self) -> dict[tuple[str, int], int]:
        """Event-time clocks of the partitions that have one, Unix milliseconds."""
        return {partition: found.clock_ms for partition, found in self._positions() if found.clock_ms}

    def _positions(self) -> Iterator[tuple[tuple[str, int], pb.Position]]:
        for key, value in self._scan(Table.POSITIONS, b"", b""):
            yield layout.position_of(key), pb.Position.FromString(value)

    def waiting(self) -> Iterator[pb.WaitingHalf]:
        """The halves in the waiting room."""
        for _, value in self._scan(Table.WAITING, b"", b""):
            yield pb.WaitingHalf.FromString(value)

    def outbox(self) -> Iterator[tuple[int, pb.OutboxEntry]]:
        """Messages to be published, by number."""
        for key, value in self._scan(Table.OUTBOX, b"", b""):
            yield layout.number_of(key), pb.OutboxEntry.FromString(value)

    def command(self, command_id: str) -> pb.CommandRecord | None:
        """What became of a command, or None where it was not handled, or too many others since."""
        data = self._get(Table.COMMANDS, command_id.encode())
        return pb.CommandRecord.FromString(data) if data is not None else None

    def command_id(self, number: int) -> str | None:
        """The id of the command handled as this one; None where it is forgotten."""
        data = self._get(Table.COMMAND_ORDER, layout.number_key(number))
        return data.decode() if data is not None else None

    def overrides(self) -> list[pb.Override]:
        """Every override in force, the oldest first."""
        found = [pb.Override.FromString(value) for _, value in self._scan(Table.OVERRIDES, b"", b"")]
        return sorted(found, key=lambda override: (override.at_ms, override.override_id))

    def forgotten(self, image_id: str) -> pb.Forgotten | None:
        """When and by whom an image was forgotten; None where it never was."""
        data = self._get(Table.FORGOTTEN, layout.hash_key(image_id))
        return pb.Forgotten.FromString(data) if data is not None else None

    def waiting_half(self, kind: Kind, image_id: str) -> pb.WaitingHalf | None:
        """The half of an image that waits for its partner."""
        data = self._get(Table.WAITING, layout.waiting_key(kind, image_id))
        return pb.WaitingHalf.FromString(data) if data is not None else None

    def scan(self, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value of a table as they are stored, in order of key."""
        return self._scan(table, b"", b"")

    def progress(self, command_id: str) -> pb.CommandProgress | None:
        """How far a command of many parts has come; None before its first part and once it has a result."""
        data = self._get(Table.PROGRESS, command_id.encode())
        return pb.CommandProgress.FromString(data) if data is not None else None

    def promotions(self) -> list[pb.Promotion]:
        """Every change of the classifier, oldest first."""
        return [pb.Promotion.FromString(value) for _, value in self._scan(Table.PROMOTIONS, b"", b"")]

    def close(self) -> None:
        """Release the files; what was committed is in RocksDB's log, so a failure here costs nothing."""
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 -- rocksdict raises bare Exception with RocksDB's text
            log.warning("closing the store failed: %s", error)

    def _get(self, table: Table, key: bytes) -> bytes | None:
        return self._get_many(table, [key])[0]

    def _get_many(self, table: Table, keys: list[bytes]) -> list[bytes | None]:
        found: list[bytes | None] = self._db.get([table.value + key for key in keys])  # type: ignore[assignment]
        return found

    def _scan(self, table: Table, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys of a table, without its prefix, from `start` on while they begin with `prefix`."""
        whole = table.value + prefix
        pairs: Iterator[tuple[bytes, bytes]] = self._db.items(from_key=table.value + start)  # type: ignore[assignment]
        for key, value in pairs:
            if not key.startswith(whole):
                return
            yield key[1:], value


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
            db = Rdict(str(path), _options())
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            if "lock" in str(error).lower():
                raise HomeInUse(
                    f"another worker has {path} open: stop it (`neardup down`), or use another NEARDUP_HOME"
                ) from error
            raise SetupError(f"opening the store at {path} failed: {error}") from error
        super().__init__(db)
        if self._get(Table.STATE, b"") is None:
            batch = Batch()
            batch.put_state(pb.StoreState(format=layout.FORMAT, digest=bytes(16), store_id=uuid4().hex))
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

    def purged(self) -> None:
        """Return when every purge so far is done."""
        self._purger.wait()

    def close(self) -> None:
        """Stop purging and release the files."""
        self._purger.close()
        super().close()

    def _migrate(self) -> None:
        stored = pb.StoreState.FromString(self._get(Table.STATE, b"") or b"").format
        new = self.state()
        if new.format != stored:
            batch = Batch()
            batch.put_state(new)
            self.write(batch)

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


def listed_under(image: pb.ImageRecord) -> int:
    """The sequence that an image has among the members of its cluster: when it came to it, not of later decisions."""
    return image.member_sequence or image.sequence


def stored_version(store: StoreView, image_id: str, kind: Kind) -> str:
    """The model version of a known image's embedding."""
    image = store.image(image_id)
    found = store.find_vector(image.ordinal) if image is not None else None
    if found is None:
        raise InvariantBroken(f"image {image_id!r} is said to be known and has no vectors")
    return found.lsh_version if kind is Kind.LSH else found.pair_version


def forgotten_upto_ms(store: StoreView, image_id: str) -> int:
    """Event time up to which embeddings of an image are dropped, Unix milliseconds; 0 where it was never forgotten."""
    found = store.forgotten(image_id)
    return found.upto_ms if found is not None else 0


def migrated(state: pb.StoreState) -> pb.StoreState:
    """The totals of an older format as this version reads them.

    Up to format 2 no image was ever forgotten, so the images were the next ordinal.
    """
    if state.format == 2:
        state.format, state.ordinals = 3, state.images
    return state


def open_checkpoint(folder: Path) -> StoreView:
    """Read a checkpoint, changing nothing.

    Raises:
        SetupError: it is no store.
    """
    try:
        return StoreView(Rdict(str(folder), _options(), access_type=AccessType.read_only()))
    except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
        raise SetupError(f"opening the checkpoint {folder} failed: {error}") from error


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
            return Rdict(str(self._path), _options(), access_type=access)
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
        """Whether the totals, part of every commit, are those of the newest commit (docs/adr/0006)."""
        commits = [layout.number_of(key) for key, _ in self._scan(Table.COMMIT, b"", b"")]
        return commits in ([], [self.state().commit])


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    # A secondary must hold every file open, or it fails when the writer deletes one after compaction.
    options.set_max_open_files(-1)
    options.set_keep_log_file_num(5)
    # Nearly every image asked for is new; with ten bits a key 99% of the files that lack it are not read.
    table = BlockBasedOptions()
    table.set_bloom_filter(10, block_based=False)
    options.set_block_based_table_factory(table)
    return options
