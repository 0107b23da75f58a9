"""What can be read of the store in RocksDB: the same for its writer, for a secondary and for a checkpoint.

Raw mode throughout: keys and values are the bytes of `layout.py`, nothing is ever pickled.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from rocksdict import AccessType, BlockBasedOptions, Options, Rdict, ReadOptions

from neardup_platform.errors import InvariantBroken, NotFound, SetupError
from neardup_platform.records import Kind
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Log

log = logging.getLogger(__name__)

_MOST_NAME = 200


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

    def stored_format(self) -> int:
        """The format in which the store was written last."""
        return pb.StoreState.FromString(self._get(Table.STATE, b"") or b"").format

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
        found = self.find_cluster(head)
        if found is None:
            image = self.image(head)
            hint = f"it is a member of {image.head!r}" if image else "no such image has been decided"
            raise NotFound(f"{head!r} heads no cluster: {hint}")
        return found

    def find_cluster(self, head: str) -> pb.ClusterRecord | None:
        """The record of a cluster; None where `head` heads none."""
        data = self._get(Table.CLUSTERS, head.encode())
        return pb.ClusterRecord.FromString(data) if data is not None else None

    def has_cluster(self, head: str) -> bool:
        """Whether this is the head of a cluster now."""
        return self._get(Table.CLUSTERS, head.encode()) is not None

    def redirected(self, head: str) -> str:
        """The present head of the cluster that was called `head`; `head` itself where nothing is known of another."""
        now = head
        while not self.has_cluster(now):
            found = self.redirect(now)
            if found is None:
                return head
            now = found.head
        return now

    def redirect(self, head: str) -> pb.Redirect | None:
        """Where the cluster went that was called `head`; None where nothing is known of another."""
        return self.redirects_of([head])[0]

    def redirects_of(self, heads: list[str]) -> list[pb.Redirect | None]:
        """As `redirect`, for many."""
        found = self._get_many(Table.REDIRECTS, [layout.hash_key(head) for head in heads])
        return [pb.Redirect.FromString(data) if data is not None else None for data in found]

    def all_members(self, head: str) -> Iterator[tuple[int, str]]:
        """Every member of a cluster with the sequence it is listed under, in the order they joined."""
        prefix = layout.id_prefix(head)
        for key, value in self._scan(Table.MEMBERS, prefix, prefix):
            yield layout.number_of(key), value.decode()

    def member_at(self, key: bytes) -> str | None:
        """The image that an edge lists, by its key in table MEMBERS; None where there is no such edge."""
        return self.members_at([key])[0]

    def members_at(self, keys: list[bytes]) -> list[str | None]:
        """As `member_at`, for many."""
        return [None if data is None else data.decode() for data in self._get_many(Table.MEMBERS, keys)]

    def recent_at(self, key: bytes) -> int | None:
        """The sequence that last changed a cluster of two or more, by its key in table RECENT."""
        data = self._get(Table.RECENT, key)
        return None if data is None else layout.number_of(data)

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

    def has_decision(self, image_id: str, sequence: int) -> bool:
        """Whether the history of an image has the decision of this sequence."""
        return self._get(Table.HISTORY, layout.sequence_key(image_id, sequence)) is not None

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
        for _, block in groupby(self._scan(Table.RECENT, b"", b""), lambda row: layout.recent_block(row[0])):
            by_sequence = sorted(block, key=lambda row: row[1], reverse=True)
            found += [layout.recent_head(key) for key, _ in by_sequence]
            if len(found) >= limit:
                break
        return found[:limit]

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

    def logs(self) -> dict[tuple[str, int], Log]:
        """Of which log each position is, by topic and partition."""
        return {
            partition: Log(found.log, found.epoch if found.HasField("epoch") else -1)
            for partition, found in self._positions()
            if not found.unread
        }

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

    def outbox(self, first: int = 0) -> Iterator[tuple[int, pb.OutboxEntry]]:
        """Messages to be published, by number, from `first` or the first that was not acknowledged on."""
        for key, value in self._scan(Table.OUTBOX, b"", layout.number_key(first or self.state().outbox_first)):
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

    def commands_read(self, partition: tuple[str, int]) -> int:
        """Up to which offset commands of a partition have been read, and judged by their age."""
        data = self._get(Table.PROGRESS, layout.commands_read_key(*partition))
        return pb.CommandProgress.FromString(data).done if data is not None else 0

    def handled_ahead(self) -> pb.CommandProgress:
        """The command that others were last handled ahead of (`of`), and the number of the last one before (`done`)."""
        return pb.CommandProgress.FromString(self._get(Table.PROGRESS, layout.AHEAD_KEY) or b"")

    def overrides_to_meet(self) -> list[str]:
        """Ids of overrides that were laid down while this store was made, and have not been acted upon in it."""
        prefix = layout.MEET_PREFIX
        return [key[len(prefix) :].decode() for key, _ in self._scan(Table.PROGRESS, prefix, prefix)]

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
        """Keys of a table, without its prefix, from `start` on while they begin with `prefix`.

        RocksDB is told where to end: it would look for the next live key, past every deleted one of the next table.
        """
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(layout.after_prefix(table.value + prefix))
        pairs: Iterator[tuple[bytes, bytes]] = self._db.items(  # type: ignore[assignment]
            from_key=table.value + start, read_opt=bounds
        )
        for key, value in pairs:
            yield key[1:], value


def listed_under(image: pb.ImageRecord) -> int:
    """The sequence that an image has among the members of its cluster: when it came to it, not of later decisions."""
    return image.member_sequence or image.sequence


def forgotten_upto_ms(store: StoreView, image_id: str) -> int:
    """Event time up to which embeddings of an image are dropped, Unix milliseconds; 0 where it was never forgotten."""
    found = store.forgotten(image_id)
    return found.upto_ms if found is not None else 0


def migrated(state: pb.StoreState) -> pb.StoreState:
    """The totals of an older format as this version reads them.

    Up to format 2 no image was ever forgotten, so the images were the next ordinal. Up to format 3 the outbox had no
    known first number, and RECENT other keys, which are rewritten when the store is opened for writing.
    """
    if state.format == 2:
        state.format, state.ordinals = 3, state.images
    if state.format == 3:
        state.format = 4
        if state.HasField("paused"):
            # Of any size then, and part of every commit.
            state.paused.by = state.paused.by[:_MOST_NAME]
    return state


def open_checkpoint(folder: Path) -> StoreView:
    """Read a checkpoint, changing nothing.

    Raises:
        SetupError: it is no store.
    """
    try:
        return StoreView(Rdict(str(folder), rocksdb_options(), access_type=AccessType.read_only()))
    except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
        raise SetupError(f"opening the checkpoint {folder} failed: {error}") from error


def rocksdb_options() -> Options:
    """How every process opens the store."""
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
