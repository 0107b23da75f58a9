"""The join as a pure state machine: halves in; pairs, expiries and changes of the waiting room out.

An image's two embeddings arrive on two topics in any order. The first waits; the second completes the pair.
Each input partition has its own clock: the newest event time it has shown, or a moment up to which it is known to have
been read. The watermark is the slowest of them, so a partition that is being caught up on holds back expiry for all. A
half waits from what its partition's clock says at its arrival, and expires when the watermark has moved on from there
by more than the allowed lateness: an image that comes late in one topic (replayed, or of a producer whose clock runs
behind) comes as late in the other, and how far that one has been read must not matter.

What is joined and expired follows from the halves, the clocks and the order of arrival, so a process that restores both
goes on as if it had never stopped.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

from neardup_platform.records import Embedding, JoinedImage, Kind

Origin = TypeVar("Origin")
WaitingKey = tuple[Kind, str]

# What a waiting half takes beside its vector and the bytes it came as, measured: objects, dict and heap entries.
HALF_OVERHEAD_BYTES = 1_100
_MIN_SWEPT = 1_000
_ANY = 1 << 62


@dataclass(frozen=True, slots=True)
class Half(Generic[Origin]):
    """One waiting embedding.

    Attributes:
        origin: where it came from, for the report of an expiry; the join does not look into it.
        waits_from_ms: clock of its partition at its arrival, from which its allowed lateness counts.
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
        return HALF_OVERHEAD_BYTES + self.embedding.vector.nbytes + self.origin_bytes


@dataclass(frozen=True, slots=True)
class Offer(Generic[Origin]):
    """What came of one embedding: it completed an image, or entered the waiting room, or was older than one there.

    Attributes:
        image: the completed image.
        partner: the half that left the waiting room to complete it.
        entered: the half that now waits.
        replaced: a half that is forgotten: of two of the same kind and id the one made earlier; where one of them
            replaces what is stored, the other.
    """

    image: JoinedImage | None = None
    partner: Half[Origin] | None = None
    entered: Half[Origin] | None = None
    replaced: Half[Origin] | None = None


class Pairing(Generic[Origin]):
    """The waiting room.

    Args:
        partitions: every input partition; until each has a clock, nothing expires.
        lateness_ms: how far the watermark may move on before a half expires.
        max_waiting: bound of the waiting room; above it the oldest half is evicted.
        max_bytes: the same in bytes of memory.
        waiting: halves restored from the store.
        clocks_ms: clocks restored from the store.
    """

    def __init__(
        self,
        partitions: Iterable[Hashable],
        lateness_ms: int,
        max_waiting: int,
        max_bytes: int,
        waiting: Iterable[Half[Origin]] = (),
        clocks_ms: Mapping[Hashable, int] | None = None,
    ) -> None:
        self._clocks_ms: dict[Hashable, int] = dict.fromkeys(partitions, 0) | dict(clocks_ms or {})
        self._lateness_ms = lateness_ms
        self._max_waiting, self._max_bytes = max_waiting, max_bytes
        self._waiting: dict[WaitingKey, Half[Origin]] = {}
        self._bytes = 0
        # (waits_from_ms, kind, image id); entries of halves that have left stay until they surface or are swept.
        self._by_time: list[tuple[int, Kind, str]] = []
        for half in waiting:
            self._admit(half)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """Bytes of memory that the waiting halves take."""
        return self._bytes

    @property
    def watermark_ms(self) -> int:
        """Event time up to which every partition has been read; 0 while one of them has no clock."""
        return min(self._clocks_ms.values(), default=0)

    def clock_ms(self, partition: Hashable) -> int:
        """One partition's clock; of a partition that is new the watermark, which it must not set back."""
        clock_ms = self._clocks_ms.get(partition)
        return self.watermark_ms if clock_ms is None else clock_ms

    def advance(self, partition: Hashable, time_ms: int) -> bool:
        """Move one partition's clock on to an event time; returns whether it had not shown it before."""
        before_ms = self.clock_ms(partition)
        self._clocks_ms[partition] = max(before_ms, time_ms)
        return time_ms > before_ms

    @property
    def partitions(self) -> Set[Hashable]:
        """Partitions that have a clock, or are waited for."""
        return self._clocks_ms.keys()

    def add_partition(self, partition: Hashable) -> None:
        """A partition has appeared: its clock is the watermark, which stands still until something is known of it."""
        self._clocks_ms.setdefault(partition, self.watermark_ms)

    def drop_partition(self, partition: Hashable) -> None:
        """A partition is gone, and with it its clock; halves that came from it wait on."""
        self._clocks_ms.pop(partition, None)

    def offer(self, embedding: Embedding, origin: Origin, partition: Hashable, origin_bytes: int = 0) -> Offer[Origin]:
        """Take one embedding.

        Args:
            partition: where it came from, its clock advanced already.
            origin_bytes: memory that the origin takes.
        """
        partner = self.partner(embedding)
        if partner is not None:
            self._take(partner.key)
            other = partner.embedding
            pair = (embedding, other) if embedding.kind is Kind.LSH else (other, embedding)
            left_over = self._take((embedding.kind, embedding.image_id)) if embedding.replaces else None
            return Offer(image=JoinedImage(*pair), partner=partner, replaced=left_over)
        half = Half(embedding, origin, self.clock_ms(partition), origin_bytes)
        waiting = self._waiting.get(half.key)
        if waiting is not None and _precedence(waiting.embedding) > _precedence(embedding):
            return Offer(replaced=half)
        self._admit(half)
        return Offer(entered=half, replaced=waiting)

    def partner(self, embedding: Embedding) -> Half[Origin] | None:
        """The waiting half that an embedding completes. Those that replace and those that do not are never mixed."""
        found = self._waiting.get((embedding.kind.other, embedding.image_id))
        return found if found is not None and found.embedding.replaces == embedding.replaces else None

    def waiting(self, kind: Kind, image_id: str) -> Half[Origin] | None:
        """The half of an image that waits for its partner."""
        return self._waiting.get((kind, image_id))

    @property
    def overdue(self) -> bool:
        """Whether `expire` or `evict` has something to give up."""
        return self._is_due() or self._is_full()

    def expire(self, most: int = _ANY, most_bytes: int = _ANY) -> list[Half[Origin]]:
        """Remove and return halves whose partner did not come in time, oldest first.

        Args:
            most: of so many at most; the next call goes on.
            most_bytes: of about so many bytes in all, and at least one.
        """
        return self._pop_while(self._is_due, most, most_bytes)

    def evict(self, most: int = _ANY, most_bytes: int = _ANY) -> list[Half[Origin]]:
        """Remove and return the oldest halves above `max_waiting` and `max_bytes`, once none is left to expire."""
        return [] if self._is_due() else self._pop_while(self._is_full, most, most_bytes)

    def remove(self, image_id: str) -> None:
        """Forget the waiting halves of an image."""
        for kind in Kind:
            self._take((kind, image_id))

    def _admit(self, half: Half[Origin]) -> None:
        self._take(half.key)
        self._waiting[half.key] = half
        self._bytes += half.size
        heapq.heappush(self._by_time, (half.waits_from_ms, *half.key))
        if len(self._by_time) > 2 * len(self._waiting) + _MIN_SWEPT:
            self._by_time = [(half.waits_from_ms, *key) for key, half in self._waiting.items()]
            heapq.heapify(self._by_time)

    def _take(self, key: WaitingKey) -> Half[Origin] | None:
        half = self._waiting.pop(key, None)
        if half is not None:
            self._bytes -= half.size
        return half

    def _is_due(self) -> bool:
        oldest = self._oldest()
        return oldest is not None and oldest.waits_from_ms < self.watermark_ms - self._lateness_ms

    def _is_full(self) -> bool:
        return len(self._waiting) > self._max_waiting or self._bytes > self._max_bytes

    def _oldest(self) -> Half[Origin] | None:
        while self._by_time:
            waits_from_ms, kind, image_id = self._by_time[0]
            half = self._waiting.get((kind, image_id))
            if half is not None and half.waits_from_ms == waits_from_ms:
                return half
            heapq.heappop(self._by_time)
        return None

    def _pop_while(self, condition: Callable[[], bool], most: int, most_bytes: int) -> list[Half[Origin]]:
        left: list[Half[Origin]] = []
        size = 0
        while len(left) < most and size < most_bytes and condition():
            half = self._oldest()
            if half is None:
                break
            self._take(half.key)
            left.append(half)
            size += half.size
        return left


def _precedence(embedding: Embedding) -> tuple[bool, int]:
    """Of two waiting halves of one kind and image the greater one stays."""
    return embedding.replaces, embedding.event_time_ms
