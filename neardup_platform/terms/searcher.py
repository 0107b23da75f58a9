"""Searches of one view by several threads: queries are split into near-equal batches, one cascade for each."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.candidates import Candidates, Nearness, nothing_found
from neardup_platform.terms.cascade import BATCH_QUERIES, Cascade, View
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import Hashed, TermSpace

# Queries that are worth handing to another thread.
MIN_THREAD_QUERIES = 4


class Searcher:
    """Answers queries; safe to use from several threads.

    Args:
        space: of the queries.
        effort: how much a search examines.
        threads: share a micro-batch of queries.
    """

    def __init__(self, space: TermSpace, effort: Effort, threads: int) -> None:
        self._cascade = Cascade(space, effort)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "term-search")

    def search(
        self,
        view: View,
        hashed: Hashed,
        k: int,
        min_overlap: int,
        before: NDArray[np.int64] | None,
        nearness: Nearness | None = None,
    ) -> Candidates:
        """Finds the K nearest images of a view to each query; arguments and errors as of `TermIndex.search`."""
        if k < 1:
            raise ValueError(f"k is {k}, at least 1 is needed")
        if before is not None and len(before) != len(hashed):
            raise ValueError(f"{len(before)} limits for {len(hashed)} queries")
        found = nothing_found(len(hashed), k)
        limits = np.full(len(hashed), view.end, np.int64) if before is None else before.astype(np.int64)
        share = max(MIN_THREAD_QUERIES, min(BATCH_QUERIES, -(-len(hashed) // self._threads)))
        batches = [slice(at, at + share) for at in range(0, len(hashed), share)]

        def answer(rows: slice) -> None:
            self._cascade.search(view, hashed[rows], limits[rows], min_overlap, found.part(rows), nearness)

        for _ in self._pool.map(answer, batches) if len(batches) > 1 else map(answer, batches):
            pass
        return found

    def close(self) -> None:
        """Stops the threads after their current work."""
        self._pool.shutdown()
