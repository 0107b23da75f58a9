"""Fits the cells of the term index to images of a store.

Unit vectors → **k-means in two levels** → centroids → their signatures. Two levels make the fit of many cells cheap:
8,192 cells of 262,144 images take seconds, and searches know nothing of the levels.
"""

import faiss
import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.cells import Cells
from neardup_platform.terms.hyperplanes import TermSpace, Vectors

# Fewer images each make cells too ragged; more make the fit longer and the cells hardly better.
LEAST_PER_CELL, MOST_PER_CELL = 16, 40
MOST_CELLS = 8_192
_ROUNDS, _SEED = 10, 1


def fit_cells(space: TermSpace, unit: Vectors) -> Cells:
    """Fit cells to a sample, one for every `LEAST_PER_CELL` images; the same sample gives the same cells.

    Args:
        space: of the signatures.
        unit: float32 [n, dim], as of `Hashed.unit`, in any order but that of time.

    Raises:
        ValueError: there are fewer than `LEAST_PER_CELL` images.
    """
    cells = min(MOST_CELLS, len(unit) // LEAST_PER_CELL)
    if cells < 1:
        raise ValueError(f"{len(unit)} images are too few to fit cells to: at least {LEAST_PER_CELL} are needed")
    sample = np.ascontiguousarray(unit[: cells * MOST_PER_CELL], np.float32)
    groups = _k_means(sample, max(1, round(cells**0.5)))
    group_of = (sample @ groups.T).argmax(axis=1)
    parts = []
    for group in range(len(groups)):
        members = sample[group_of == group]
        count = min(len(members), max(1, round(cells * len(members) / len(sample))))
        if count:
            parts.append(_k_means(members, count))
    return Cells(space.version, space.sign(np.concatenate(parts)))


def _k_means(unit: Vectors, count: int) -> NDArray[np.float32]:
    """Spherical k-means: float32 [count, dim], unit rows."""
    kmeans = faiss.Kmeans(unit.shape[1], count, niter=_ROUNDS, spherical=True, seed=_SEED)
    kmeans.cp.min_points_per_centroid = 1
    kmeans.cp.max_points_per_centroid = len(unit)
    kmeans.train(np.ascontiguousarray(unit))
    return np.asarray(kmeans.centroids, np.float32).reshape(count, -1)
