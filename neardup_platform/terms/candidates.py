"""The interface of candidate search: queries and answers of every index.

`TermIndex` serves the stream; the faiss indexes are exact second backends and the oracle for recall. One suite of tests
(`tests/terms/contract.py`) holds all of them to what is documented here.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import Hashed


class Candidates(NamedTuple):
    """Result of a search: a row per query, best first, older images (smaller ordinals) first among equals.

    Best means nearest by Hamming distance over the whole signature, unless the index documents otherwise: a `TermIndex`
    may rank by cosine.

    Attributes:
        ordinals: int64 [q, K]; −1 pads a row of fewer than K.
        distances: uint16 [q, K], Hamming distance of the signatures, bits; 0 where padded, and from an index that holds
            no signatures.
        overlaps: uint8 [q, K], equal terms; likewise.
        examined: int64 [q], images that were compared with the query.
    """

    ordinals: NDArray[np.int64]
    distances: NDArray[np.uint16]
    overlaps: NDArray[np.uint8]
    examined: NDArray[np.int64]

    def part(self, rows: slice) -> "Candidates":
        """Returns the answers to some queries, not copied."""
        return Candidates(self.ordinals[rows], self.distances[rows], self.overlaps[rows], self.examined[rows])

    def without(self, ordinal: int, k: int) -> "Candidates":
        """Returns the answer to a single query, cut to its K best candidates other than this one."""
        keep = np.flatnonzero(self.ordinals[0] != ordinal)[:k]
        return Candidates(self.ordinals[:, keep], self.distances[:, keep], self.overlaps[:, keep], self.examined)


class Nearness(Protocol):
    """How near images are to queries, for an index that holds no more of them than heads."""

    def rank(self, unit: NDArray[np.float32], keys: NDArray[np.uint64], filled: NDArray[np.int64]) -> None:
        """Replaces the distances in the keys of shortlists by distances of vectors, below 2^32.

        Args:
            unit: float32 [q, dim], queries, centred and of length 1.
            keys: uint64 [q, ·], distance · 2^32 + ordinal.
            filled: int64 [q], keys of each query.
        """


def nothing_found(queries: int, k: int) -> Candidates:
    """Returns an answer of padding only, to be filled in."""
    shape = (queries, k)
    return Candidates(
        np.full(shape, -1, np.int64), np.zeros(shape, np.uint16), np.zeros(shape, np.uint8), np.zeros(queries, np.int64)
    )


class CandidateIndex(Protocol):
    """Images by ordinal, numbered in order of arrival, searched by example while they grow.

    One writer adds and deletes; any number of threads may search meanwhile.
    """

    def __len__(self) -> int:
        """Returns the number of images ever added, deleted ones included: the next ordinal."""
        ...

    def add(self, hashed: Hashed) -> NDArray[np.int64]:
        """Adds images; the next search finds them.

        Args:
            hashed: n images, n ≥ 0.

        Returns:
            Their ordinals, int64 [n], consecutive.

        Raises:
            ValueError: a width or dtype differs from the index's.
        """
        ...

    def delete(self, ordinals: NDArray[np.int64]) -> None:
        """Deletes images: no later search finds them. Unknown and already deleted ordinals are ignored.

        Args:
            ordinals: int64 [n], in any order.
        """
        ...

    def search(
        self, hashed: Hashed, k: int, min_overlap: int = 1, before: NDArray[np.int64] | None = None
    ) -> Candidates:
        """Finds the K best images for each query.

        Args:
            hashed: q queries.
            k: candidates per query, at least 1.
            min_overlap: equal terms that a candidate needs.
            before: int64 [q], finds only images of smaller ordinals, row by row; None finds all.

        Raises:
            ValueError: k is below 1, or a width, dtype or the number of limits does not fit.
        """
        ...

    def close(self) -> None:
        """Releases files and threads; the index must not be used afterwards."""
        ...
