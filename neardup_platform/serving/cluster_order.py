"""In which order clusters are listed, which of them, and where a page continues. Pure.

Every order ends with sequence and head, so it is total, and a page continues right after the last cluster of the one
before. By size, the larger come first, among equal ones those that changed last.
"""

from dataclasses import dataclass
from enum import StrEnum

# A list has no single images.
LEAST_SIZE = 2
# Greater than every size and time.
_ENDLESS = 1 << 62

# What an order compares first (size, or time of the last change), then the sequence of the last change, and the head.
Place = tuple[int, int, bytes]


class Sort(StrEnum):
    """The order of a list of clusters."""

    SIZE = "size"
    RECENT = "recent"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class Listed:
    """A cluster in the list.

    Attributes:
        changed_ms: when it changed last, Unix milliseconds.
        sequence: of the decision that changed it.
    """

    head: str
    size: int
    changed_ms: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which clusters are listed, and in which order.

    Attributes:
        min_size, max_size: members, both included.
        since_ms: the time of the last change is this or later, Unix milliseconds.
    """

    sort: Sort = Sort.SIZE
    min_size: int = LEAST_SIZE
    max_size: int = _ENDLESS - 1
    since_ms: int = 0

    @property
    def before_first(self) -> Place:
        """The place before that of the first cluster."""
        match self.sort:
            case Sort.SIZE:
                return self.max_size + 1, -1, b""
            case Sort.RECENT:
                return _ENDLESS, -1, b""
            case Sort.OLDEST:
                return self.since_ms, -1, b""

    def place_of(self, cluster: Listed) -> Place:
        """The place of a cluster in the order."""
        first = cluster.size if self.sort == Sort.SIZE else cluster.changed_ms
        return first, cluster.sequence, cluster.head.encode()
