"""The nearest of any number of vectors, exactly and in little memory: one block at a time. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Neighbour(NamedTuple):
    """An image and its cosine with a query."""

    image_id: str
    cosine: float


def nearest(queries: Vectors, blocks: Iterable[tuple[Sequence[str], Vectors]], most: int) -> list[list[Neighbour]]:
    """The nearest images of each query, by the cosine; of all, as every one is looked at.

    Args:
        queries: float32 [n, dim], of length 1.
        blocks: ids of images, and their vectors of length 1.
        most: of each query.

    Returns:
        For each query, best first.
    """
    best: list[list[Neighbour]] = [[] for _ in queries]
    for ids, vectors in blocks:
        if not len(queries) or not len(vectors):
            continue
        cosines, rows = faiss.knn(queries, vectors, min(most, len(vectors)), metric=faiss.METRIC_INNER_PRODUCT)
        for number, found in enumerate(best):
            found += [
                Neighbour(ids[row], float(cosine)) for cosine, row in zip(cosines[number], rows[number], strict=True)
            ]
            best[number] = sorted(found, key=lambda each: (-each.cosine, each.image_id))[:most]
    return best
