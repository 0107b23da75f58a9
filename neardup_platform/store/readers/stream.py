"""Reads the stream's own state: input positions, unpaired embeddings and the outbox."""

from collections.abc import Iterator

from neardup_platform.records import Kind
from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.readers.state import StateReader
from neardup_platform.store.store_pb2 import OutboxEntry, Position, UnpairedRecord
from neardup_platform.store.tables import Tables
from neardup_platform.wire.codec import Log


class PositionReader:
    """Where reading continues, by topic and partition."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, partition: tuple[str, int]) -> Position | None:
        """Return the position of one partition, or None."""
        data = self._tables.get(Table.POSITIONS, layout.position_key(*partition))
        return Position.FromString(data) if data is not None else None

    def next_offsets(self) -> dict[tuple[str, int], int]:
        """Return the next offset of every partition that was ever read."""
        return {partition: found.next_offset for partition, found in self._all() if not found.unread}

    def logs(self) -> dict[tuple[str, int], Log]:
        """Return the log that each offset of `next_offsets` belongs to."""
        return {
            partition: Log(found.log, found.epoch if found.HasField("epoch") else -1)
            for partition, found in self._all()
            if not found.unread
        }

    def clocks_ms(self) -> dict[tuple[str, int], int]:
        """Return the event-time clocks of the partitions that have one, Unix milliseconds."""
        return {partition: found.clock_ms for partition, found in self._all() if found.clock_ms}

    def _all(self) -> Iterator[tuple[tuple[str, int], Position]]:
        for key, value in self._tables.scan(Table.POSITIONS):
            yield layout.position_of(key), Position.FromString(value)


class UnpairedReader:
    """Embeddings that wait for their partner."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, kind: Kind, image_id: str) -> UnpairedRecord | None:
        """Return the waiting embedding of an image, or None."""
        data = self._tables.get(Table.WAITING, layout.waiting_key(kind, image_id))
        return UnpairedRecord.FromString(data) if data is not None else None

    def all(self) -> Iterator[UnpairedRecord]:
        """Yield every waiting embedding."""
        for _, value in self._tables.scan(Table.WAITING):
            yield UnpairedRecord.FromString(value)


class OutboxReader:
    """Messages to publish."""

    def __init__(self, tables: Tables, state: StateReader) -> None:
        self._tables = tables
        self._state = state

    def pending(self, first: int = 0) -> Iterator[tuple[int, OutboxEntry]]:
        """Yield the unacknowledged messages by number, from number `first` on if it is given."""
        start = layout.number_key(first or self._state.get().outbox_first)
        for key, value in self._tables.scan(Table.OUTBOX, start=start):
            yield layout.number_of(key), OutboxEntry.FromString(value)
