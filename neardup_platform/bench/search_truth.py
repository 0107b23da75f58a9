"""What a candidate search should find: the reference of `neardup bench search`, and recall against it.

A true pair is two planted pictures of one group. It counts if exhaustive search by the cosine of the centred vectors
puts the second within the first `FIRST` for the first, which no ranking of signatures can be expected to beat.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.image_tree import Vectors

FIRST = 100


@dataclass(frozen=True)
class Truth:
    """True pairs that an engine should find.

    Attributes:
        queries: int64 [q], ordinals of the query pictures.
        rows: int64 [m], the query of each pair, as its row in `queries`.
        neighbours: int64 [m], ordinal of the other picture of each pair.
        labelled: number of true pairs, whether or not exhaustive search finds them.
    """

    queries: NDArray[np.int64]
    rows: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    labelled: int

    def recall(self, found: NDArray[np.int64], k: int) -> float:
        """Share of the pairs whose neighbour is among the first k results, without the query itself.

        Args:
            found: int64 [q, ≥ k + 1], ordinals, best first, −1 where there are fewer.
            k: number of results that count.
        """
        others = without_self(found, self.queries)[:, :k]
        return float((others[self.rows] == self.neighbours[:, None]).any(axis=1).mean())


class ExhaustiveCosine:
    """The nearest images of a corpus too large to keep, updated chunk by chunk.

    Args:
        queries: float32 [q, dim], unit.
    """

    def __init__(self, queries: Vectors) -> None:
        self._queries = queries
        self._cosines = np.full((len(queries), FIRST + 1), -np.inf, np.float32)
        self._ordinals = np.full((len(queries), FIRST + 1), -1, np.int64)
        self._seen = 0

    def see(self, chunk: Vectors) -> None:
        """Compare with the next images, float32 [n, dim], unit."""
        cosines, rows = faiss.knn(self._queries, chunk, min(FIRST + 1, len(chunk)), metric=faiss.METRIC_INNER_PRODUCT)
        ordinals = np.concatenate([self._ordinals, rows + self._seen], axis=1)
        cosines = np.concatenate([self._cosines, cosines], axis=1)
        # Stable, so that older images stay before newer ones of the same cosine.
        best = np.argsort(-cosines, axis=1, kind="stable")[:, : FIRST + 1]
        self._cosines = np.take_along_axis(cosines, best, axis=1)
        self._ordinals = np.take_along_axis(ordinals, best, axis=1)
        self._seen += len(chunk)

    def truth(self, queries: NDArray[np.int64], groups: NDArray[np.int64]) -> Truth:
        """The true pairs among the nearest.

        Args:
            queries: int64 [q], ordinals of the queries.
            groups: int64 [q], the group of each; two of one group are a true pair.
        """
        same = (groups[:, None] == groups[None, :]) & ~np.eye(len(groups), dtype=np.bool_)
        rows, columns = np.nonzero(same)
        first = without_self(self._ordinals, queries)[:, :FIRST]
        found = (first[rows] == queries[columns][:, None]).any(axis=1)
        return Truth(queries, rows[found], queries[columns[found]], len(rows))


def without_self(found: NDArray[np.int64], queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """The ordinals without each query's own, in the same order, one column fewer: the last if it was not found."""
    others = np.where(found == queries[:, None], -1, found)
    moved = np.argsort(found == queries[:, None], axis=1, kind="stable")
    return np.take_along_axis(others, moved, axis=1)[:, :-1]
