"""Working memory of searches, one set per thread, so that a search allocates next to nothing."""

import threading

import numpy as np

from neardup_platform.terms.parts import GROUP, NOTHING, Shortlists

# Entries a shortlist may hold before it is cut back, as a multiple of its size: each cut costs a pass over it.
_SPARE = 4


class Scratch:
    """Makes empty shortlists.

    Args:
        queries: of one pass, at most.
        size: of a shortlist.
        distances: the largest distance there is.
    """

    def __init__(self, queries: int, size: int, distances: int) -> None:
        self._queries, self._size, self._distances = queries, size, distances
        self._own = threading.local()

    def shortlists(self, queries: int) -> Shortlists:
        """Empty shortlists for so many queries, valid until the same thread asks again."""
        if not hasattr(self._own, "lists"):
            self._own.lists = self._allocate()
        lists: Shortlists = self._own.lists
        lists.filled[:] = lists.within[:] = lists.histograms[:] = 0
        lists.cutoffs[:] = self._distances
        lists.bounds[:] = NOTHING
        return Shortlists(
            lists.size,
            lists.keys[:queries],
            lists.places[:queries],
            lists.filled[:queries],
            lists.cutoffs[:queries],
            lists.within[:queries],
            lists.bounds[:queries],
            lists.histograms[:queries],
            lists.distances[:queries],
        )

    def _allocate(self) -> Shortlists:
        n, capacity = self._queries, _SPARE * self._size + 2 * GROUP
        return Shortlists(
            self._size,
            keys=np.empty((n, capacity), np.uint64),
            places=np.empty((n, capacity), np.uint64),
            filled=np.empty(n, np.int64),
            cutoffs=np.empty(n, np.int64),
            within=np.empty(n, np.int64),
            bounds=np.empty(n, np.uint64),
            histograms=np.empty((n, self._distances + 1), np.int64),
            distances=np.empty((n, GROUP), np.uint64),
        )
