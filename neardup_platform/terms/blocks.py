"""Ranges of ordinals: the blocks in which a term index seals and retires images, and gaps between ranges. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

# Images are retired and sealed in whole blocks, so that what a query sees does not depend on batches.
BLOCK_IMAGES = 4_096


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of `size` images; block 0 starts at ordinal 0. In all methods `end` is the next image's ordinal."""

    size: int

    def room(self, end: int) -> int:
        """Returns how many images the present block still takes."""
        return self.size - end % self.size

    def present(self, end: int) -> int:
        """Returns the first ordinal of the block that holds the newest image."""
        return max(0, (end - 1) // self.size * self.size)

    def recent(self, end: int) -> int:
        """Returns the first ordinal of the window: that block, and the one before it."""
        return max(0, ((end - 1) // self.size - 1) * self.size)


def gaps(held: Sequence[tuple[int, int]], upto: int) -> list[tuple[int, int]]:
    """Returns the ranges [first, end) of ordinals below `upto` that are in none of the held ranges, ascending.

    Args:
        held: ranges [first, end), ascending; they may be empty.
        upto: see above.
    """
    ends = accumulate((end for _, end in held), max, initial=0)
    between = zip(ends, [*(first for first, _ in held), upto], strict=True)
    return [(first, min(end, upto)) for first, end in between if first < min(end, upto)]


def overlap(one: range, other: range) -> bool:
    """Returns whether two ranges of ordinals have one in common."""
    return max(one.start, other.start) < min(one.stop, other.stop)
