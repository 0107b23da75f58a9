"""The store in RocksDB: one writer (the stream worker), any number of secondary readers.

Raw mode throughout: keys and values are the bytes of `layout.py`, nothing is ever pickled.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from rocksdict import AccessType, Options, Rdict, WriteBatch

from neardup_platform.clusters import layout
from neardup_platform.clusters.layout import Table
from neardup_platform.errors import HomeInUse, InvariantBroken, NotFound, ServerUnavailable, SetupError
from neardup_platform.messages import neardup_pb2 as pb

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
        return pb.StoreState.FromString(data or b"")

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

    def recent_clusters(self, limit: int) -> list[str]:
        """Heads of the clusters of two or more that changed last, newest first."""
        found: list[str] = []
        for _, value in self._scan(Table.RECENT, b"", b""):
            if len(found) == limit:
                break
            found.append(value.decode())
        return found

    def vectors(self, start: int = 0) -> Iterator[pb.VectorRecord]:
        """The images' vectors, in order of ordinal, from ordinal `start` on."""
        for _, value in self._scan(Table.VECTORS, b"", layout.number_key(start)):
            yield pb.VectorRecord.FromString(value)

    def vector(self, ordinal: int) -> pb.VectorRecord:
        """One image's vectors.

        Raises:
            InvariantBroken: there is none.
        """
        data = self._get(Table.VECTORS, layout.number_key(ordinal))
        if data is None:
            raise InvariantBroken(f"no vectors stored for ordinal {ordinal}")
        return pb.VectorRecord.FromString(data)

    def positions(self) -> dict[tuple[str, int], int]:
        """Next offset to read, by topic and partition."""
        return {
            layout.position_of(key): pb.Position.FromString(value).next_offset
            for key, value in self._scan(Table.POSITIONS, b"", b"")
        }

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

    def delete_below(self, table: Table, key: bytes) -> None:
        """Remove every key of a table that sorts before `key`."""
        self.raw.delete_range(table.value, table.value + key)

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
        found = self.state().format
        if found != layout.FORMAT:
            self.close()
            raise SetupError(
                f"the store at {path} has format {found}, this version reads {layout.FORMAT}: "
                "use the version that wrote it, or another NEARDUP_HOME"
            )

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
            return Rdict(str(self._path), _options(), access_type=access)
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            raise ServerUnavailable(f"no store to read at {self._path} yet: {error}") from error

    def consistent(self) -> threading.RLock:
        """A lock to hold across reads that must agree with one another."""
        return self._moment

    def refresh(self) -> None:
        """Catch up with the writer.

        Raises:
            ServerUnavailable: the writer flushed so often that no single moment could be read; the next call may.
        """
        with self._moment:
            self._db.try_catch_up_with_primary()
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
            fresh = self._open()
            self._db.close()
            self._db = fresh
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
    return options
