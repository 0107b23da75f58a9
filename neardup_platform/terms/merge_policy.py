"""Which segments to merge, so that few are left and each image is rewritten a bounded number of times. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.mmap_segment import Segment

# A segment is merged with its newer neighbours until it is more than this much larger than all of them together.
MERGE_FACTOR = 4
# A segment is rewritten when a larger share of its images is deleted.
MAX_DELETED_RATIO = 0.125


def next_merge(segments: Sequence[Segment], deleted: NDArray[np.int64], *, durable: bool) -> slice | None:
    """Returns which neighbouring segments to merge next, newest first; None when no merge is due.

    Args:
        segments: in order of ordinal.
        deleted: int64, ascending.
        durable: whether segments in memory must be written.
    """
    for last in range(len(segments) - 1, -1, -1):
        first, images = last, segments[last].images
        while (
            first > 0
            and segments[first - 1].end == segments[first].first
            and segments[first - 1].images <= MERGE_FACTOR * images
        ):
            first -= 1
            images += segments[first].images
        unwritten = durable and any(segment.path is None for segment in segments[first : last + 1])
        if first < last or unwritten or _too_many_deleted(segments[last], deleted):
            return slice(first, last + 1)
    return None


def _too_many_deleted(segment: Segment, deleted: NDArray[np.int64]) -> bool:
    return segment.count_of(deleted) > MAX_DELETED_RATIO * segment.images
