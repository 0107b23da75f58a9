"""One search of the term index, in three steps that compare ever fewer images ever more closely (docs/adr/0007).

1. *scan*: the newest images, and of the older ones those in the cells nearest to the query, until there are enough; a
   small corpus is searched whole
2. *shortlist*: the nearest of those by 256 bits, their heads, or by unequal terms
3. *compare*: the K nearest of those by the cosine of their vectors, or by the whole signature

An index by cosine holds heads along orthogonal directions, and the vectors are in the table of the caller
(docs/adr/0057). In an index by signature, the head is the beginning of the signature.

Every step is exact and breaks ties by age, so the answer depends on the images and their order alone, not on how they
are distributed over segments.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.candidates import Candidates, Nearness
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import WORD_BITS, Hashed, TermSpace
from neardup_platform.terms.kernels import (
    best_of,
    close_shortlists,
    compare_part,
    nearest_of,
    plan_cells,
    shortlist_part,
)
from neardup_platform.terms.parts import EARLY, HEAD_WORDS, LATE, Part, Plan, Query, Visible, empty_plan
from neardup_platform.terms.scratch import Scratch

# Queries that share one pass over the segments, at most. With fewer, each would read its cells from memory alone.
BATCH_QUERIES = 64
# Images in the cells scanned first, as a multiple of the shortlist: enough for a cutoff that few other images pass.
EARLY_SHORTLISTS = 8


@dataclass(frozen=True, slots=True)
class View:
    """The images that one search works on; adding and sealing create new views.

    Attributes:
        sealed: the segments.
        window: the newest images, as one cell that every query scans.
        sizes: int64 [cells], images of each cell in the segments.
        states: uint8 [images].
        recent: the first ordinal of the window.
        images: images before the present block, which determine the effort: so it does not depend on how the block is
            cut into batches.
        end: the next ordinal.
    """

    sealed: tuple[Part, ...]
    window: Part
    sizes: NDArray[np.int64]
    states: NDArray[np.uint8]
    recent: int
    images: int
    end: int


class Cascade:
    """Searches views; safe to use from several threads."""

    def __init__(self, space: TermSpace, effort: Effort) -> None:
        self._space, self._effort = space, effort
        self._by_overlap = effort.ranking == "overlap"
        farthest = space.tables if self._by_overlap else HEAD_WORDS * WORD_BITS
        self._scratch = Scratch(BATCH_QUERIES, farthest)

    def search(
        self,
        view: View,
        hashed: Hashed,
        before: NDArray[np.int64],
        min_overlap: int,
        found: Candidates,
        nearness: Nearness | None = None,
    ) -> None:
        """Answers at most `BATCH_QUERIES` queries.

        Args:
            view: the images.
            hashed: the queries.
            before: int64 [q], finds only images of smaller ordinals.
            min_overlap: equal terms that a candidate needs.
            found: receives the best.
            nearness: ranks the shortlist of an index by cosine; None in one by signature.
        """
        words = hashed.signatures if nearness is None else hashed.heads
        query = Query(words, self._space.plane_words, self._by_overlap)
        visible = Visible(view.states, view.recent, before)
        effort = self._effort.within(view.images, found.ordinals.shape[1])
        lists = self._scratch.shortlists(len(hashed), effort.shortlist)
        plan, window = self._plan(view.sizes, hashed, effort), len(view.sealed)
        found.examined[:] = view.window.starts[-1] + plan.images
        shortlist_part(window, view.window, EARLY, _everything(len(hashed)), query, visible, lists)
        for turn in (EARLY, LATE):
            for number, part in enumerate(view.sealed):
                shortlist_part(number, part, turn, plan, query, visible, lists)
        close_shortlists(lists)
        if nearness is not None:
            nearness.rank(hashed.unit, lists.keys, lists.filled)
            nearest_of(lists, found.ordinals.shape[1], found)
            return
        for number, part in enumerate((*view.sealed, view.window)):
            compare_part(number, part, query, self._space.tables, min_overlap, lists)
        best_of(lists, found.ordinals.shape[1], found)

    def _plan(self, sizes: NDArray[np.int64], hashed: Hashed, effort: Effort) -> Plan:
        """Returns the cells that each query scans."""
        early, fitted = EARLY_SHORTLISTS * effort.shortlist, self._space.fitted
        if fitted is not None:
            known = hashed.distances
            distances = fitted.distances(hashed.signatures) if known is None else known
            return fitted.plan(distances, sizes, early, effort.scan)
        plan = empty_plan(len(hashed), len(sizes))
        plan_cells(_nearest(hashed.affinities), sizes, early, effort.scan, plan)
        return plan


def _everything(queries: int) -> Plan:
    """Returns the plan of a window, which is one cell."""
    plan = empty_plan(queries, 1)
    plan.cells[:], plan.turns[:], plan.counts[:] = 0, EARLY, 1
    return plan


def _nearest(affinities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns cells by affinity, int64 [q, cells], the lower number first among equals.

    Sorts words that combine affinity and number, which is several times faster than argsort.
    """
    keys = (-affinities).view(np.int32).astype(np.int64)
    keys ^= (keys >> 63) & 0x7FFFFFFF  # the bits of a float, as a number in the same order
    keys = (keys << 32) | np.arange(affinities.shape[1])
    keys.sort(axis=1)
    return keys & 0xFFFFFFFF
