"""The port of candidate search: what every index answers, and what it is asked.

`TermIndex` serves the stream; the faiss indexes are the exact second backends and the oracle of recall. One
contract suite (`tests/terms/contract.py`) holds them all to what is said here.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import Hashed


class Candidates(NamedTuple):
    """Result of a search, a row per query, best first; older images (smaller ordinals) first among equals.

    Best is nearest by Hamming distance over the whole signature, unless the index says otherwise.

    Attributes:
        ordinals: int64 [q, K], −1 where there are fewer than K.
        distances: uint16 [q, K], Hamming distance of the signatures, bits; 0 where padded.
        overlaps: uint8 [q, K], equal terms; 0 where padded.
        examined: int64 [q], images that were compared with the query at all.
    """

    ordinals: NDArray[np.int64]
    distances: NDArray[np.uint16]
    overlaps: NDArray[np.uint8]
    examined: NDArray[np.int64]

    def part(self, rows: slice) -> "Candidates":
        """Some queries' answers; writing to them writes to these."""
        return Candidates(self.ordinals[rows], self.distances[rows], self.overlaps[rows], self.examined[rows])

    def without(self, ordinal: int, k: int) -> "Candidates":
        """Returns the answer to a single query, cut to its K best candidates other than this one."""
        keep = np.flatnonzero(self.ordinals[0] != ordinal)[:k]
        return Candidates(self.ordinals[:, keep], self.distances[:, keep], self.overlaps[:, keep], self.examined)


def nothing_found(queries: int, k: int) -> Candidates:
    """An answer of padding only, to be filled in."""
    shape = (queries, k)
    return Candidates(
        np.full(shape, -1, np.int64), np.zeros(shape, np.uint16), np.zeros(shape, np.uint8), np.zeros(queries, np.int64)
    )


class CandidateIndex(Protocol):
    """Images by ordinal, their numbers in order of arrival, searched by example while they grow.

    One writer adds and deletes; any number of threads may search meanwhile.
    """

    def __len__(self) -> int:
        """Images ever added, deleted ones included: the next ordinal."""
        ...

    def add(self, hashed: Hashed) -> NDArray[np.int64]:
        """Add images; they are found by the next search.

        Args:
            hashed: n images, n ≥ 0.

        Returns:
            Their ordinals, int64 [n], consecutive.

        Raises:
            ValueError: a width or dtype that is not the index's.
        """
        ...

    def delete(self, ordinals: NDArray[np.int64]) -> None:
        """Forget images; no later search finds them. Unknown or already deleted ordinals are ignored.

        Args:
            ordinals: int64 [n], in any order.
        """
        ...

    def search(
        self, hashed: Hashed, k: int, min_overlap: int = 1, before: NDArray[np.int64] | None = None
    ) -> Candidates:
        """The K best images for each query.

        Args:
            hashed: q queries.
            k: at most so many per query, at least 1.
            min_overlap: equal terms a candidate needs.
            before: int64 [q]; row by row only images of a smaller ordinal are found. None: all images.

        Raises:
            ValueError: k below 1, or a width, dtype or number of limits that does not fit.
        """
        ...

    def close(self) -> None:
        """Release files and threads; the index must not be used afterwards."""
        ...
