"""Exact candidate search with faiss: second backends behind `CandidateIndex`, and the oracle for recall.

Every query is compared with every image, so the cost grows with the corpus. Nothing is stored on disk: after a restart
the caller adds all images again. The common part is in `faiss_exhaustive.py`, the choice of CPU or GPU in
`faiss_flat.py`.
"""

import faiss
import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.faiss_exhaustive import CHUNK_ROWS, Costs, FaissExhaustive, Nearest
from neardup_platform.terms.faiss_flat import FaissFlat
from neardup_platform.terms.hyperplanes import WORD_BITS, Hashed, Signatures, TermSpace


class FaissHammingIndex(FaissExhaustive):
    """Exact search by Hamming distance over whole signatures: `IndexBinaryFlat`, on a GPU `GpuIndexBinaryFlat`.

    Memory: the signatures, 8 bytes a word, and one byte an image.
    """

    def __init__(self, space: TermSpace) -> None:
        signatures = faiss.IndexBinaryFlat(WORD_BITS * space.words)
        super().__init__(space, FaissFlat(signatures), signatures)

    def _append(self, hashed: Hashed) -> None:
        self._flat.add(_bytes_of(hashed.signatures))

    def _nearest(self, hashed: Hashed, fetch: int) -> Nearest:
        ordinals, distances = self._flat.nearest(_bytes_of(hashed.signatures), fetch)
        costs = distances.astype(np.float64)
        bounds = costs[:, -1] if fetch < self._images else np.full(len(costs), np.inf)
        return ordinals, costs, bounds


class FaissCosineIndex(FaissExhaustive):
    """Exact search by the cosine of the centred vectors: best first means highest cosine, not lowest Hamming distance.

    `IndexFlatIP` on the CPU, moved by `index_cpu_to_gpu` if faiss finds a GPU. faiss computes in float32, on a GPU from
    float16, and rounds differently for many queries than for few. So the cosines of the fetched images are computed
    again in float64, in the same way for every pair, and equal vectors tie exactly. Signatures give distances and
    overlaps.
    """

    def __init__(self, space: TermSpace) -> None:
        super().__init__(space, FaissFlat(faiss.IndexFlatIP(space.dim)), faiss.IndexBinaryFlat(WORD_BITS * space.words))
        # Largest error of a float32 inner product of unit vectors (Higham, Accuracy and Stability of Numerical
        # Algorithms, §3.1), doubled because the length of a unit vector in float32 is not exactly 1.
        self._error = 2 * space.dim * 2.0**-24 + self._flat.storage_error

    def _append(self, hashed: Hashed) -> None:
        self._flat.add(np.ascontiguousarray(hashed.unit))
        self._signatures.add(_bytes_of(hashed.signatures))

    def _nearest(self, hashed: Hashed, fetch: int) -> Nearest:
        ordinals, cosines = self._flat.nearest(np.ascontiguousarray(hashed.unit), fetch)
        stored = self._flat.rows()
        costs = np.stack([_minus_cosines(query, stored, row) for query, row in zip(hashed.unit, ordinals, strict=True)])
        if fetch == self._images:
            return ordinals, costs, np.full(len(costs), np.inf)
        return ordinals, costs, -cosines[:, -1].astype(np.float64) - self._error


def _minus_cosines(query: NDArray[np.float32], stored: NDArray[np.float32], ordinals: NDArray[np.int64]) -> Costs:
    """Sums the products of each pair, exact in float64, in an order that depends on the dimension alone."""
    costs = np.empty(len(ordinals), np.float64)
    exact = query.astype(np.float64)
    for start in range(0, len(ordinals), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        costs[part] = -(stored[ordinals[part]] * exact).sum(axis=1)
    return costs


def _bytes_of(signatures: Signatures) -> NDArray[np.uint8]:
    return np.ascontiguousarray(signatures).view(np.uint8)
