"""Working memory of searches, one set per thread, so that a search allocates almost nothing."""

import threading

import numpy as np

from neardup_platform.terms.parts import GROUP, NOTHING, Shortlists

# Entries that a shortlist may hold before it is compacted, as a multiple of its size: compacting is a pass over it.
_SPARE = 4


class Scratch:
    """Provides empty shortlists.

    Args:
        queries: of one pass, at most.
        distances: the largest possible distance.
    """

    def __init__(self, queries: int, distances: int) -> None:
        self._queries, self._distances = queries, distances
        self._own = threading.local()

    def shortlists(self, queries: int, size: int) -> Shortlists:
        """Returns an empty shortlist for each query, valid until the next call of the same thread."""
        lists: Shortlists | None = getattr(self._own, "lists", None)
        if lists is None or lists.size < size:
            # More than needed, because a growing corpus soon needs more.
            self._own.lists = lists = self._allocate(size + size // 4)
        lists.filled[:] = lists.within[:] = lists.histograms[:] = 0
        lists.cutoffs[:] = self._distances
        lists.bounds[:] = NOTHING
        return Shortlists(
            size,
            lists.keys[:queries],
            lists.places[:queries],
            lists.filled[:queries],
            lists.cutoffs[:queries],
            lists.within[:queries],
            lists.bounds[:queries],
            lists.histograms[:queries],
        )

    def _allocate(self, size: int) -> Shortlists:
        n, capacity = self._queries, _SPARE * size + 2 * GROUP
        return Shortlists(
            size,
            keys=np.empty((n, capacity), np.uint64),
            places=np.empty((n, capacity), np.uint64),
            filled=np.empty(n, np.int64),
            cutoffs=np.empty(n, np.int64),
            within=np.empty(n, np.int64),
            bounds=np.empty(n, np.uint64),
            histograms=np.empty((n, self._distances + 1), np.int64),
        )
