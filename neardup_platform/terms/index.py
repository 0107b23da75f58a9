"""The term index: exact top-K by overlap over every image, growing while it answers.

Immutable segments (postings sorted by term) hold the bulk; the newest images lie in a delta that is compared
row by row, so an image is found by the very next query. A full delta is sealed into a segment, and a
background thread merges neighbouring segments of like size, so that a query visits few of them. Ordinals,
the images' numbers in order of arrival, run through the segments and end in the delta.
"""

import logging
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import Terms
from neardup_platform.terms.kernels import build_postings, merge_postings, search_postings, search_rows

log = logging.getLogger(__name__)

# A row-by-row comparison of this many images costs about as much as a lookup in the postings of a million.
DELTA_IMAGES = 4_096
# Neighbouring segments are merged until each is at least this much larger than the next.
MERGE_FACTOR = 4


@dataclass(frozen=True)
class Candidates:
    """Result of a search, best first, older first among equals.

    Attributes:
        ordinals: int64 [q, K], −1 where there are fewer than K.
        overlaps: uint8 [q, K], 0 there.
    """

    ordinals: NDArray[np.int64]
    overlaps: NDArray[np.uint8]


@dataclass(frozen=True)
class _Segment:
    base: int
    starts: NDArray[np.uint32]
    postings: NDArray[np.uint32]

    @property
    def images(self) -> int:
        return int(self.postings.shape[1])


class TermIndex:
    """Postings of every image's terms.

    One writer; `search` may run in other threads only when the writer is not adding.

    Args:
        tables: terms per image, 1…255.
        bits: bits per term, 1…16.
    """

    def __init__(self, tables: int, bits: int) -> None:
        self._buckets = 1 << bits
        self._delta = np.zeros((DELTA_IMAGES, tables), np.uint16)
        self._delta_base = 0
        self._delta_images = 0
        self._segments: tuple[_Segment, ...] = ()
        self._counts = np.zeros(0, np.uint8)
        self._publishing = threading.Lock()
        self._merger: threading.Thread | None = None

    def __len__(self) -> int:
        return self._delta_base + self._delta_images

    def add(self, terms: Terms) -> NDArray[np.int64]:
        """Add images; they are searchable when this returns.

        Args:
            terms: uint16 [n, tables].

        Returns:
            Their ordinals, int64 [n], consecutive.
        """
        first = len(self)
        if self._delta_images + len(terms) > len(self._delta):
            self._seal()
        if len(terms) > len(self._delta):
            self._publish(_Segment(first, *build_postings(terms, self._buckets)))
            self._delta_base += len(terms)
        else:
            self._delta[self._delta_images : self._delta_images + len(terms)] = terms
            self._delta_images += len(terms)
        return np.arange(first, first + len(terms))

    def search(self, terms: Terms, k: int, min_overlap: int = 1, before: NDArray[np.int64] | None = None) -> Candidates:
        """The K images sharing most terms with each query.

        Args:
            terms: uint16 [q, tables].
            k: at most so many per query.
            min_overlap: equal terms needed, at least 1.
            before: int64 [q]; only images of a smaller ordinal are found. They must not lie below the delta,
                which holds for the images of the batch last added.
        """
        segments, delta_base, delta_images = self._segments, self._delta_base, self._delta_images
        if before is None:
            before = np.full(len(terms), len(self), np.int64)
        parts = len(segments) + 1
        ordinals = np.full((len(terms), parts, k), -1, np.int64)
        overlaps = np.zeros((len(terms), parts, k), np.uint8)
        largest = max((s.images for s in segments), default=0)
        if len(self._counts) < largest:
            self._counts = np.zeros(largest, np.uint8)
        for part, segment in enumerate(segments):
            search_postings(
                segment.starts,
                segment.postings,
                segment.base,
                terms,
                min_overlap,
                self._counts,
                ordinals[:, part],
                overlaps[:, part],
            )
        search_rows(
            self._delta[:delta_images],
            delta_base,
            terms,
            before,
            min_overlap,
            ordinals[:, -1],
            overlaps[:, -1],
        )
        return _best(ordinals.reshape(len(terms), -1), overlaps.reshape(len(terms), -1), k)

    def wait_for_merges(self) -> None:
        """Return when no background merge is running; for benchmarks, tests and a bulk load's end."""
        while self._merger is not None and self._merger.is_alive():
            self._merger.join()

    def _seal(self) -> None:
        if self._delta_images:
            starts, postings = build_postings(self._delta[: self._delta_images], self._buckets)
            self._publish(_Segment(self._delta_base, starts, postings))
            self._delta_base += self._delta_images
            self._delta_images = 0

    def _publish(self, segment: _Segment) -> None:
        with self._publishing:
            self._segments = (*self._segments, segment)
            if self._merger is None and _mergeable(self._segments) is not None:
                self._merger = threading.Thread(target=self._merge, name="term-index-merge", daemon=True)
                self._merger.start()

    def _merge(self) -> None:
        while True:
            with self._publishing:
                segments = self._segments
                first = _mergeable(segments)
                if first is None:
                    self._merger = None
                    return
            a, b = segments[first : first + 2]
            merged = _Segment(a.base, *merge_postings(a.starts, a.postings, b.starts, b.postings))
            with self._publishing:
                # Only this thread replaces segments; others append, so positions hold.
                self._segments = (*self._segments[:first], merged, *self._segments[first + 2 :])


def _mergeable(segments: tuple[_Segment, ...]) -> int | None:
    """Position of the first of two neighbours to merge: the newest pair not yet spread geometrically."""
    for first in range(len(segments) - 2, -1, -1):
        if segments[first].images < MERGE_FACTOR * segments[first + 1].images:
            return first
    return None


def _best(ordinals: NDArray[np.int64], overlaps: NDArray[np.uint8], k: int) -> Candidates:
    """Merge the parts' lists: by overlap descending, then ordinal ascending; absent ones last."""
    age = np.where(ordinals < 0, (1 << 40) - 1, ordinals)
    order = np.argsort(((255 - overlaps.astype(np.int64)) << 40) | age, axis=1, kind="stable")[:, :k]
    return Candidates(np.take_along_axis(ordinals, order, 1), np.take_along_axis(overlaps, order, 1))
