"""The store in RocksDB: one writer (the stream worker), any number of secondary readers.

Raw mode throughout: keys and values are the bytes of `layout.py`, nothing is ever pickled.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rocksdict import AccessType, ColumnFamily, Options, Rdict, WriteBatch

from neardup_platform.clusters import layout
from neardup_platform.errors import HomeInUse, InvariantBroken, NotFound, ServerUnavailable, SetupError
from neardup_platform.messages import neardup_pb2 as pb


@dataclass(frozen=True, slots=True)
class Page:
    """Some members of a cluster, oldest first. `cursor` continues after the last one; None at the end."""

    image_ids: tuple[str, ...]
    cursor: int | None


class StoreView:
    """Reads; the same for the writer and for a secondary."""

    def __init__(self, db: Rdict) -> None:
        self._db = db
        self._families = {name: db.get_column_family(name) for name in layout.COLUMN_FAMILIES}

    def state(self) -> pb.StoreState:
        """Totals, versions and digest; empty for a new store."""
        data = self._db.get(layout.STATE_KEY)
        return pb.StoreState.FromString(data) if data else pb.StoreState(digest=bytes(16))

    def image(self, image_id: str) -> pb.ImageRecord | None:
        """The record of an image, or None when it has not been decided."""
        data = self._families["images"].get(image_id.encode())
        return pb.ImageRecord.FromString(data) if data is not None else None

    def images(self, image_ids: list[str]) -> list[pb.ImageRecord | None]:
        """Many records at once, in the order asked for."""
        keys = [image_id.encode() for image_id in image_ids]
        found: list[bytes | None] = self._families["images"].get(keys)  # type: ignore[arg-type,assignment]
        return [pb.ImageRecord.FromString(data) if data is not None else None for data in found]

    def cluster(self, head: str) -> pb.ClusterRecord:
        """The record of a cluster.

        Raises:
            NotFound: `head` is not the head of a cluster.
        """
        data = self._families["clusters"].get(head.encode())
        if data is None:
            image = self.image(head)
            hint = f"it is a member of {image.head!r}" if image else "no such image has been decided"
            raise NotFound(f"{head!r} heads no cluster: {hint}")
        return pb.ClusterRecord.FromString(data)

    def members(self, head: str, limit: int, cursor: int | None = None) -> Page:
        """A page of members in the order they joined; reads `limit` keys however large the cluster is."""
        start = layout.sequence_key(head, 0 if cursor is None else cursor + 1)
        found: list[tuple[int, str]] = []
        for key, value in self._scan("members", layout.id_prefix(head), start):
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
        data = self._families["history"].get(layout.sequence_key(image_id, image.sequence))
        if data is None:
            raise InvariantBroken(f"decision {image.sequence} of {image_id!r} is missing from the history")
        return bytes(data)

    def history(self, image_id: str) -> list[bytes]:
        """Every decision made about an image, oldest first, encoded."""
        prefix = layout.id_prefix(image_id)
        return [value for _, value in self._scan("history", prefix, prefix)]

    def recent_clusters(self, limit: int) -> list[str]:
        """Heads of the clusters of two or more that changed last, newest first."""
        found: list[str] = []
        for _, value in self._scan("recent", b"", b""):
            if len(found) == limit:
                break
            found.append(value.decode())
        return found

    def vectors(self, start: int = 0) -> Iterator[pb.VectorRecord]:
        """The images' vectors and terms, in order of ordinal, from ordinal `start` on."""
        for _, value in self._scan("vectors", b"", layout.number_key(start)):
            yield pb.VectorRecord.FromString(value)

    def vector(self, ordinal: int) -> pb.VectorRecord:
        """One image's vectors and terms.

        Raises:
            InvariantBroken: there is none.
        """
        data = self._families["vectors"].get(layout.number_key(ordinal))
        if data is None:
            raise InvariantBroken(f"no vectors stored for ordinal {ordinal}")
        return pb.VectorRecord.FromString(data)

    def positions(self) -> dict[tuple[str, int], int]:
        """Next offset to read, by topic and partition."""
        return {
            layout.position_of(key): pb.Position.FromString(value).next_offset
            for key, value in self._scan("positions", b"", b"")
        }

    def waiting(self) -> Iterator[pb.WaitingHalf]:
        """The halves in the waiting room."""
        for _, value in self._scan("waiting", b"", b""):
            yield pb.WaitingHalf.FromString(value)

    def outbox(self) -> Iterator[tuple[int, pb.OutboxEntry]]:
        """Messages to be published, by number."""
        for key, value in self._scan("outbox", b"", b""):
            yield layout.number_of(key), pb.OutboxEntry.FromString(value)

    def close(self) -> None:
        """Release the files."""
        for family in self._families.values():
            family.close()
        self._db.close()

    def _scan(self, family: str, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        pairs: Iterator[tuple[bytes, bytes]] = self._families[family].items(from_key=start)  # type: ignore[assignment]
        for key, value in pairs:
            if not key.startswith(prefix):
                return
            yield key, value


class Batch:
    """Changes that reach the disk together or not at all."""

    def __init__(self, handles: dict[str, ColumnFamily]) -> None:
        self.raw = WriteBatch(raw_mode=True)
        self._handles = handles

    def put(self, family: str, key: bytes, value: bytes) -> None:
        """Set one value."""
        self.raw.put(key, value, self._handles[family])

    def delete(self, family: str, key: bytes) -> None:
        """Remove one key; it need not be there."""
        self.raw.delete(key, self._handles[family])

    def delete_below(self, family: str, key: bytes) -> None:
        """Remove every key that sorts before `key`."""
        self.raw.delete_range(b"", key, self._handles[family])

    def put_state(self, state: pb.StoreState) -> None:
        """Set the totals."""
        self.raw.put(layout.STATE_KEY, state.SerializeToString())


class Store(StoreView):
    """The writer's view.

    Raises:
        HomeInUse: another process has the store open.
        SetupError: the store was written in another format.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            db = Rdict(str(path), _options(), column_families=_family_options())
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            if "lock" in str(error).lower():
                raise HomeInUse(
                    f"another worker has {path} open: stop it (`neardup down`), or use another NEARDUP_HOME"
                ) from error
            raise SetupError(f"opening the store at {path} failed: {error}") from error
        super().__init__(db)
        self._handles = {name: db.get_column_family_handle(name) for name in layout.COLUMN_FAMILIES}
        found = self.state().format
        if found not in (0, layout.FORMAT):
            self.close()
            raise SetupError(
                f"the store at {path} has format {found}, this version reads {layout.FORMAT}: "
                "use the version that wrote it, or another NEARDUP_HOME"
            )

    def batch(self) -> Batch:
        """A new, empty set of changes."""
        return Batch(self._handles)

    def close(self) -> None:
        """Flush and release the lock, which every handle into the store holds on to."""
        self._handles.clear()
        super().close()

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


class StoreReader(StoreView):
    """A secondary: sees what the writer had committed at the last `refresh`.

    Reads inside `with reader.consistent():` see one such moment, because `refresh` waits for them.

    Raises:
        ServerUnavailable: the worker has not made its store yet.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        access = AccessType.secondary(str(scratch))
        try:
            db = Rdict(str(path), _options(), column_families=_family_options(), access_type=access)
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            raise ServerUnavailable(f"no store to read at {path} yet: {error}") from error
        super().__init__(db)
        self._moment = threading.RLock()

    def consistent(self) -> threading.RLock:
        """A lock to hold across reads that must agree with one another."""
        return self._moment

    def refresh(self) -> None:
        """Catch up with the writer."""
        with self._moment:
            self._db.try_catch_up_with_primary()


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    # A secondary must hold every file open, or it fails when the writer deletes one after compaction.
    options.set_max_open_files(-1)
    options.set_keep_log_file_num(5)
    return options


def _family_options() -> dict[str, Options]:
    return {name: Options(raw_mode=True) for name in layout.COLUMN_FAMILIES}
