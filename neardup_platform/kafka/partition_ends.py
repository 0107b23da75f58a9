"""Tracks how far the partitions go: the source of the lag, and of how far the join's clocks may advance. Pure.

The reader asks for the end of every partition from time to time. Once everything up to that end has been handed out,
every message that existed at the time of asking has been seen, whatever event times the producers wrote into them.
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
    """Updated by the reader thread, queried by the worker's loop."""

    def __init__(self) -> None:
        # Replaced as a whole, so that no thread sees the ends of one moment with the time of another.
        self._asked = _Asked()
        self._newest: dict[Partition, int] = {}

    def update(self, ends: Mapping[Partition, int], at_ms: int) -> None:
        """Set the ends of all embedding partitions, including those that are not read.

        Args:
            ends: the next offset to be written, by partition.
            at_ms: the clock just before asking for them, Unix milliseconds.
        """
        self._newest = dict(ends)
        self._asked = _Asked(at_ms, dict(ends), set(ends))

    def seen(self, partition: Partition, end: int) -> None:
        """Note the end of a partition that a fetch has shown."""
        if partition in self._newest:
            self._newest[partition] = end

    def reached(self, handed_out: NextOffset) -> dict[Partition, int]:
        """Return the partitions handed out up to their latest end, with the time of asking. Each is returned once."""
        asked = self._asked
        found = [p for p in asked.not_reached if handed_out(p) >= asked.ends[p]]
        asked.not_reached.difference_update(found)
        return dict.fromkeys(found, asked.at_ms)

    def behind(self, handed_out: NextOffset) -> int:
        """Return the number of known messages that were not handed out yet."""
        newest = self._newest
        return sum(max(0, end - handed_out(partition)) for partition, end in newest.items())
