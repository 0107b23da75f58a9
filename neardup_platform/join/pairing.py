"""The join as a pure state machine: halves in; pairs, expiries and changes of the waiting room out.

An image's two embeddings arrive on two topics in any order. The first waits; the second completes the pair.
Each input partition has its own clock, the newest event time it has shown; the watermark is the slowest of
them, so a partition that is being caught up on holds back expiry for all. A half waits from its event time,
or from the watermark at its arrival where that is later (old images replayed), and expires when the
watermark has moved on from there by more than the allowed lateness.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from neardup_platform.records import Embedding, JoinedImage, Kind

Origin = TypeVar("Origin")
WaitingKey = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Half(Generic[Origin]):
    """One waiting embedding.

    Attributes:
        origin: where it came from, for the report of an expiry; the join does not look into it.
        waits_from_ms: event time from which its allowed lateness counts.
    """

    embedding: Embedding
    origin: Origin
    waits_from_ms: int

    @property
    def key(self) -> WaitingKey:
        """Kind and image id."""
        return self.embedding.kind, self.embedding.image_id


@dataclass(frozen=True, slots=True)
class Offer(Generic[Origin]):
    """What came of one embedding: either it completed an image, or it entered the waiting room.

    Attributes:
        image: the completed image.
        partner: the half that left the waiting room to complete it.
        entered: the half that now waits.
        replaced: an older half of the same kind and id whose place it took.
    """

    image: JoinedImage | None = None
    partner: Half[Origin] | None = None
    entered: Half[Origin] | None = None
    replaced: Half[Origin] | None = None


class Pairing(Generic[Origin]):
    """The waiting room.

    Args:
        partitions: every input partition; until each has been heard of or reported idle, nothing expires.
        lateness_ms: how far the watermark may move on before a half expires.
        max_waiting: bound of the waiting room; above it the oldest half is evicted.
        waiting: halves restored from the store.
    """

    def __init__(
        self,
        partitions: Iterable[Hashable],
        lateness_ms: int,
        max_waiting: int,
        waiting: Iterable[Half[Origin]] = (),
    ) -> None:
        self._clocks_ms = dict.fromkeys(partitions, 0)
        self._lateness_ms = lateness_ms
        self._max_waiting = max_waiting
        self._waiting: dict[WaitingKey, Half[Origin]] = {}
        # (waits_from_ms, kind, image id); entries of halves that have left stay until they surface.
        self._by_time: list[tuple[int, Kind, str]] = []
        for half in waiting:
            self._admit(half)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def watermark_ms(self) -> int:
        """Event time up to which every partition has been read."""
        return min(self._clocks_ms.values())

    def advance(self, partition: Hashable, time_ms: int) -> None:
        """Move one partition's clock on: to an event time it showed, or to now when it is idle."""
        self._clocks_ms[partition] = max(self._clocks_ms[partition], time_ms)

    def offer(self, embedding: Embedding, origin: Origin) -> Offer[Origin]:
        """Take one embedding."""
        partner = self._waiting.pop((embedding.kind.other, embedding.image_id), None)
        if partner is not None:
            other = partner.embedding
            pair = (embedding, other) if embedding.kind is Kind.LSH else (other, embedding)
            return Offer(image=JoinedImage(*pair), partner=partner)
        half = Half(embedding, origin, max(embedding.event_time_ms, self.watermark_ms))
        replaced = self._waiting.get(half.key)
        self._admit(half)
        return Offer(entered=half, replaced=replaced)

    def expire(self) -> list[Half[Origin]]:
        """Remove and return the halves whose partner did not come in time, oldest first."""
        limit_ms = self.watermark_ms - self._lateness_ms
        return self._pop_while(lambda waits_from_ms: waits_from_ms < limit_ms)

    def evict(self) -> list[Half[Origin]]:
        """Remove and return the oldest halves above `max_waiting`."""
        return self._pop_while(lambda _: len(self._waiting) > self._max_waiting)

    def _admit(self, half: Half[Origin]) -> None:
        self._waiting[half.key] = half
        heapq.heappush(self._by_time, (half.waits_from_ms, *half.key))

    def _pop_while(self, condition: Callable[[int], bool]) -> list[Half[Origin]]:
        left = []
        while self._by_time and condition(self._by_time[0][0]):
            waits_from_ms, kind, image_id = heapq.heappop(self._by_time)
            half = self._waiting.get((kind, image_id))
            if half is not None and half.waits_from_ms == waits_from_ms:
                left.append(self._waiting.pop((kind, image_id)))
        return left
