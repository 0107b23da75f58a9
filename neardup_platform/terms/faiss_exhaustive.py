"""The common part of the faiss backends: exact answers from plain nearest-neighbour fetches.

faiss knows distances alone. Deletions, `before`, `min_overlap` and the order of equals are applied to what faiss
returns, and the fetch grows until K images are left that no unseen image can precede, or all images have been seen. So
an answer is never short or out of order because of a filter: many deleted or filtered images near a query cost time,
not recall.
"""

import threading
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.candidates import Candidates, nothing_found
from neardup_platform.terms.faiss_flat import FaissFlat, stored_rows
from neardup_platform.terms.hyperplanes import Hashed, Signatures, TermSpace, hamming

# The first fetch per candidate asked for, and its growth while too few remain.
_FETCH_FACTOR = 2
_GROWTH = 4
# Neighbours in memory at once: 12 bytes each from faiss.
_MAX_CELLS = 1 << 22
# Rows gathered at once when the rest is compared.
CHUNK_ROWS = 4_096

Costs = NDArray[np.float64]
Nearest = tuple[NDArray[np.int64], Costs, Costs]


class FaissExhaustive(ABC):
    """A `CandidateIndex` in memory. Calls from several threads take turns, because faiss moves its rows when it grows.

    faiss releases the GIL while it scans, and splits the queries of a call among its own (OpenMP) threads.

    Args:
        space: of all images and queries.
        flat: the rows to scan.
        signatures: the `IndexBinaryFlat` with the signatures of the images.
    """

    def __init__(self, space: TermSpace, flat: FaissFlat, signatures: Any) -> None:
        self._space = space
        self._flat = flat
        self._signatures = signatures
        self._deleted = np.zeros(1_024, bool)
        self._images = 0
        self._turn = threading.Lock()

    def __len__(self) -> int:
        return self._images

    def add(self, hashed: Hashed) -> NDArray[np.int64]:
        """See `CandidateIndex.add`."""
        self._check(hashed)
        with self._turn:
            first, end = self._images, self._images + len(hashed)
            self._append(hashed)
            if end > len(self._deleted):
                self._deleted = np.concatenate([self._deleted, np.zeros(end, bool)])
            self._images = end
        return np.arange(first, end, dtype=np.int64)

    def delete(self, ordinals: NDArray[np.int64]) -> None:
        """See `CandidateIndex.delete`. The memory of the images is not freed."""
        with self._turn:
            known = ordinals[(ordinals >= 0) & (ordinals < self._images)]
            self._deleted[known] = True

    def search(
        self, hashed: Hashed, k: int, min_overlap: int = 1, before: NDArray[np.int64] | None = None
    ) -> Candidates:
        """See `CandidateIndex.search`."""
        self._check(hashed)
        if k < 1:
            raise ValueError(f"k is {k}: ask for at least 1 candidate")
        queries = len(hashed)
        if before is not None and before.shape != (queries,):
            raise ValueError(f"before has shape {before.shape}: give one limit for each of {queries} queries")
        found = nothing_found(queries, k)
        with self._turn:
            found.examined[:] = self._images
            limits = np.full(queries, self._images, np.int64) if before is None else before
            pending, fetch = np.arange(queries), _FETCH_FACTOR * k
            while len(pending) and self._images:
                fetch = min(fetch, self._images)
                pending = self._fill(found, hashed, pending, fetch, min_overlap, limits)
                fetch *= _GROWTH
        return found

    def close(self) -> None:
        """See `CandidateIndex.close`."""
        with self._turn:
            self._flat.reset()
            self._signatures.reset()
            self._images = 0

    @abstractmethod
    def _append(self, hashed: Hashed) -> None:
        """Stores the rows of the images."""

    @abstractmethod
    def _nearest(self, hashed: Hashed, fetch: int) -> Nearest:
        """Finds the nearest images of each query with faiss.

        Returns:
            Ordinals [q, fetch], their costs (lower is better), and a bound for each query [q]: an image that was not
            fetched costs at least as much.
        """

    def _fill(
        self,
        found: Candidates,
        hashed: Hashed,
        pending: NDArray[np.int64],
        fetch: int,
        min_overlap: int,
        limits: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Writes the answers that this fetch completes; returns the queries that need a larger one."""
        incomplete = []
        at_once = max(1, _MAX_CELLS // fetch)
        for start in range(0, len(pending), at_once):
            rows = pending[start : start + at_once]
            part = hashed[rows]
            for row, signature, ordinals, costs, bound in zip(
                rows, part.signatures, *self._nearest(part, fetch), strict=True
            ):
                usable = (ordinals >= 0) & (ordinals < limits[row]) & (costs < bound)
                usable[usable] = ~self._deleted[ordinals[usable]]
                kept = self._write(found, int(row), signature, ordinals[usable], costs[usable], min_overlap)
                if kept < found.ordinals.shape[1] and fetch < self._images:
                    incomplete.append(row)
        return np.array(incomplete, np.int64)

    def _write(
        self,
        found: Candidates,
        row: int,
        signature: Signatures,
        ordinals: NDArray[np.int64],
        costs: Costs,
        min_overlap: int,
    ) -> int:
        """Writes the best images that overlap enough into a row of the answer; returns their number."""
        distances, overlaps = self._compare(signature, ordinals)
        enough = np.flatnonzero(overlaps >= min_overlap)
        best = enough[np.lexsort((ordinals[enough], costs[enough]))][: found.ordinals.shape[1]]
        kept = len(best)
        found.ordinals[row, :kept] = ordinals[best]
        found.distances[row, :kept] = distances[best]
        found.overlaps[row, :kept] = overlaps[best]
        return kept

    def _compare(
        self, signature: Signatures, ordinals: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns Hamming distances and overlaps of a query's signature, uint64 [words], with stored images."""
        stored = stored_rows(self._signatures).view(np.uint64)
        distances, overlaps = np.empty(len(ordinals), np.int64), np.empty(len(ordinals), np.int64)
        for start in range(0, len(ordinals), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            others = stored[ordinals[part]]
            distances[part], overlaps[part] = hamming(signature, others), self._space.overlap(signature, others)
        return distances, overlaps

    def _check(self, hashed: Hashed) -> None:
        space = self._space
        for name, rows, dtype, width in (
            ("signatures", hashed.signatures, np.uint64, space.words),
            ("unit", hashed.unit, np.float32, space.dim),
        ):
            if rows.dtype != dtype or rows.ndim != 2 or rows.shape[1] != width:
                raise ValueError(
                    f"{name} are {rows.dtype} {list(rows.shape)}, expected {np.dtype(dtype)} [n, {width}] "
                    f"of term space {space.version}"
                )
