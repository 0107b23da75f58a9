"""The join as a pure state machine: embeddings in; pairs, expiries and changes of the waiting room out.

The two embeddings of an image arrive on two topics in any order. The first one waits, and the second completes the
pair. Each input partition has a clock: the newest event time seen in it, or a moment up to which it is known to have
been read. The watermark is the slowest of these clocks, so a partition that lags holds back expiry for all. An unpaired
embedding waits from its partition's clock at its arrival, and expires once the watermark has advanced from there by
more than the allowed lateness. Its event time does not count: an image that is late in one topic (replayed, or from a
producer whose clock is behind) is equally late in the other, and how far that one has been read must not matter.

What is joined and what expires depends on the embeddings, the clocks and the order of arrival alone, so a process that
restores all three continues as if it had never stopped.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

from neardup_platform.records import Embedding, JoinedImage, Kind

Origin = TypeVar("Origin")
WaitingKey = tuple[Kind, str]

# Memory of an unpaired embedding beside its vector and its message, measured: objects, dict and heap entries.
UNPAIRED_OVERHEAD_BYTES = 1_100
_MIN_SWEPT = 1_000
_ANY = 1 << 62


@dataclass(frozen=True, slots=True)
class UnpairedEmbedding(Generic[Origin]):
    """An embedding that waits for its partner.

    Attributes:
        origin: where it came from, for the report of an expiry; the join does not use it.
        waits_from_ms: the clock of its partition at its arrival, from which its lateness counts.
        origin_bytes: memory that the origin takes.
    """

    embedding: Embedding
    origin: Origin
    waits_from_ms: int
    origin_bytes: int = 0

    @property
    def key(self) -> WaitingKey:
        """Kind and image id."""
        return self.embedding.kind, self.embedding.image_id

    @property
    def size(self) -> int:
        """Bytes of memory it takes."""
        return UNPAIRED_OVERHEAD_BYTES + self.embedding.vector.nbytes + self.origin_bytes


@dataclass(frozen=True, slots=True)
class Offer(Generic[Origin]):
    """The result of one embedding: it completed an image, entered the waiting room, or was older than one there.

    Attributes:
        image: the completed image.
        partner: the embedding that left the waiting room to complete it.
        entered: the embedding that now waits.
        replaced: the one that is dropped of two with the same kind and id: the earlier one, or the one that does not
            replace a stored embedding.
    """

    image: JoinedImage | None = None
    partner: UnpairedEmbedding[Origin] | None = None
    entered: UnpairedEmbedding[Origin] | None = None
    replaced: UnpairedEmbedding[Origin] | None = None


class Pairing(Generic[Origin]):
    """The waiting room.

    Args:
        partitions: every input partition; until each has a clock, nothing expires.
        lateness_ms: how far the watermark may advance before an unpaired embedding expires.
        max_waiting: size of the waiting room; above it the oldest embedding is evicted.
        max_bytes: the same in bytes of memory.
        waiting: unpaired embeddings restored from the store.
        clocks_ms: clocks restored from the store.
    """

    def __init__(
        self,
        partitions: Iterable[Hashable],
        lateness_ms: int,
        max_waiting: int,
        max_bytes: int,
        waiting: Iterable[UnpairedEmbedding[Origin]] = (),
        clocks_ms: Mapping[Hashable, int] | None = None,
    ) -> None:
        self._clocks_ms: dict[Hashable, int] = dict.fromkeys(partitions, 0) | dict(clocks_ms or {})
        self._lateness_ms = lateness_ms
        self._max_waiting, self._max_bytes = max_waiting, max_bytes
        self._waiting: dict[WaitingKey, UnpairedEmbedding[Origin]] = {}
        self._bytes = 0
        # (waits_from_ms, kind, image id); entries of embeddings that have left stay until they surface or are swept.
        self._by_time: list[tuple[int, Kind, str]] = []
        for unpaired in waiting:
            self._admit(unpaired)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """Bytes of memory that the unpaired embeddings take."""
        return self._bytes

    @property
    def watermark_ms(self) -> int:
        """Event time up to which every partition has been read; 0 while one of them has no clock."""
        return min(self._clocks_ms.values(), default=0)

    def clock_ms(self, partition: Hashable) -> int:
        """One partition's clock; for a new partition the watermark, which it must not set back."""
        clock_ms = self._clocks_ms.get(partition)
        return self.watermark_ms if clock_ms is None else clock_ms

    def advance(self, partition: Hashable, time_ms: int) -> bool:
        """Advance one partition's clock to an event time; returns whether that moved it."""
        before_ms = self.clock_ms(partition)
        self._clocks_ms[partition] = max(before_ms, time_ms)
        return time_ms > before_ms

    @property
    def partitions(self) -> Set[Hashable]:
        """Partitions that have a clock, or whose clock is awaited."""
        return self._clocks_ms.keys()

    def add_partition(self, partition: Hashable) -> None:
        """Add a partition. Its clock is the watermark, which stands still until the partition is read."""
        self._clocks_ms.setdefault(partition, self.watermark_ms)

    def drop_partition(self, partition: Hashable) -> None:
        """Remove a partition and its clock; embeddings that came from it keep waiting."""
        self._clocks_ms.pop(partition, None)

    def offer(self, embedding: Embedding, origin: Origin, partition: Hashable, origin_bytes: int = 0) -> Offer[Origin]:
        """Add one embedding.

        Args:
            partition: where it came from, with its clock already advanced.
            origin_bytes: memory that the origin takes.
        """
        partner = self.partner(embedding)
        if partner is not None:
            self._take(partner.key)
            other = partner.embedding
            pair = (embedding, other) if embedding.kind is Kind.LSH else (other, embedding)
            left_over = self._take((embedding.kind, embedding.image_id)) if embedding.replaces else None
            return Offer(image=JoinedImage(*pair), partner=partner, replaced=left_over)
        unpaired = UnpairedEmbedding(embedding, origin, self.clock_ms(partition), origin_bytes)
        waiting = self._waiting.get(unpaired.key)
        if waiting is not None and _precedence(waiting.embedding) > _precedence(embedding):
            return Offer(replaced=unpaired)
        self._admit(unpaired)
        return Offer(entered=unpaired, replaced=waiting)

    def partner(self, embedding: Embedding) -> UnpairedEmbedding[Origin] | None:
        """The unpaired embedding that this one completes. One that replaces is only paired with another that does."""
        found = self._waiting.get((embedding.kind.other, embedding.image_id))
        return found if found is not None and found.embedding.replaces == embedding.replaces else None

    def waiting(self, kind: Kind, image_id: str) -> UnpairedEmbedding[Origin] | None:
        """The unpaired embedding of an image."""
        return self._waiting.get((kind, image_id))

    @property
    def overdue(self) -> bool:
        """Whether `expire` or `evict` has something to give up."""
        return self._is_due() or self._is_full()

    def expire(self, most: int = _ANY, most_bytes: int = _ANY) -> list[UnpairedEmbedding[Origin]]:
        """Remove and return embeddings whose partner did not arrive in time, oldest first.

        Args:
            most: at most this many; the next call continues.
            most_bytes: at most about this many bytes, but at least one embedding.
        """
        return self._pop_while(self._is_due, most, most_bytes)

    def evict(self, most: int = _ANY, most_bytes: int = _ANY) -> list[UnpairedEmbedding[Origin]]:
        """Remove and return the oldest embeddings above `max_waiting` and `max_bytes`, once none is left to expire."""
        return [] if self._is_due() else self._pop_while(self._is_full, most, most_bytes)

    def remove(self, image_id: str) -> None:
        """Drop the unpaired embeddings of an image."""
        for kind in Kind:
            self._take((kind, image_id))

    def _admit(self, unpaired: UnpairedEmbedding[Origin]) -> None:
        self._take(unpaired.key)
        self._waiting[unpaired.key] = unpaired
        self._bytes += unpaired.size
        heapq.heappush(self._by_time, (unpaired.waits_from_ms, *unpaired.key))
        if len(self._by_time) > 2 * len(self._waiting) + _MIN_SWEPT:
            self._by_time = [(unpaired.waits_from_ms, *key) for key, unpaired in self._waiting.items()]
            heapq.heapify(self._by_time)

    def _take(self, key: WaitingKey) -> UnpairedEmbedding[Origin] | None:
        unpaired = self._waiting.pop(key, None)
        if unpaired is not None:
            self._bytes -= unpaired.size
        return unpaired

    def _is_due(self) -> bool:
        oldest = self._oldest()
        return oldest is not None and oldest.waits_from_ms < self.watermark_ms - self._lateness_ms

    def _is_full(self) -> bool:
        return len(self._waiting) > self._max_waiting or self._bytes > self._max_bytes

    def _oldest(self) -> UnpairedEmbedding[Origin] | None:
        while self._by_time:
            waits_from_ms, kind, image_id = self._by_time[0]
            unpaired = self._waiting.get((kind, image_id))
            if unpaired is not None and unpaired.waits_from_ms == waits_from_ms:
                return unpaired
            heapq.heappop(self._by_time)
        return None

    def _pop_while(self, condition: Callable[[], bool], most: int, most_bytes: int) -> list[UnpairedEmbedding[Origin]]:
        left: list[UnpairedEmbedding[Origin]] = []
        size = 0
        while len(left) < most and size < most_bytes and condition():
            unpaired = self._oldest()
            if unpaired is None:
                break
            self._take(unpaired.key)
            left.append(unpaired)
            size += unpaired.size
        return left


def _precedence(embedding: Embedding) -> tuple[bool, int]:
    """Of two unpaired embeddings of one kind and image, the greater one stays."""
    return embedding.replaces, embedding.event_time_ms
