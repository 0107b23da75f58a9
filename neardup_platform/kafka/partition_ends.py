"""How far the partitions go, as of when: from it follow the lag, and how far the join's clocks may move on. Pure.

A partition's end is asked for now and then. Once everything up to it has been handed out, every message that was
there at the moment of asking has been seen, whatever event times its producers wrote into them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Partition = tuple[str, int]
NextOffset = Callable[[Partition], int]


@dataclass(frozen=True, slots=True)
class _Asked:
    at_ms: int = 0
    ends: Mapping[Partition, int] = field(default_factory=dict)
    not_reached: set[Partition] = field(default_factory=set)


class PartitionEnds:
    """Told by the thread that reads, asked by the worker's loop."""

    def __init__(self) -> None:
        # Exchanged whole, so that neither thread sees the ends of one moment with the time of another.
        self._asked = _Asked()
        self._newest: dict[Partition, int] = {}

    def told(self, ends: Mapping[Partition, int], at_ms: int) -> None:
        """The ends of all partitions that embeddings come from, those that nobody reads among them.

        Args:
            ends: next offset to be written, by partition.
            at_ms: the clock just before they were asked for, Unix milliseconds.
        """
        self._newest = dict(ends)
        self._asked = _Asked(at_ms, dict(ends), set(ends))

    def seen(self, partition: Partition, end: int) -> None:
        """A fetch of one partition showed its end."""
        if partition in self._newest:
            self._newest[partition] = end

    def reached(self, handed_out: NextOffset) -> dict[Partition, int]:
        """Partitions handed out up to the end that was told last, with the moment of asking; each once."""
        asked = self._asked
        found = [p for p in asked.not_reached if handed_out(p) >= asked.ends[p]]
        asked.not_reached.difference_update(found)
        return dict.fromkeys(found, asked.at_ms)

    def behind(self, handed_out: NextOffset) -> int:
        """Messages known of that were not handed out yet."""
        newest = self._newest
        return sum(max(0, end - handed_out(partition)) for partition, end in newest.items())
