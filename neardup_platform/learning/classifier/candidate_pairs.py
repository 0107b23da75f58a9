"""Pairs for training and measurement as they occur in operation: each image with its nearest neighbours.

Labelled vectors → **pairs** → features → training. Random negatives would make any classifier look precise; in
operation it only sees what the search found similar.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_QUERIES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Pairs:
    """Unordered pairs of rows, each listed once.

    Attributes:
        a, b: int64 [n], a < b.
        same: bool [n], whether both are in the same group.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    same: NDArray[np.bool_]


def group_numbers(groups: Sequence[str]) -> NDArray[np.int64]:
    """Number group names 0, 1, 2…; an image without a group gets its own negative number."""
    names = {name: number for number, name in enumerate(sorted({g for g in groups if g}))}
    return np.array([names[g] if g else -1 - row for row, g in enumerate(groups)], np.int64)


def candidate_pairs(
    lsh: NDArray[np.float16], groups: Sequence[str], candidates: int, *, corpus: int | None = None
) -> Pairs:
    """Pair each image with its nearest by cosine, and with all of its group.

    Args:
        lsh: float16 [n, dim].
        groups: [n], empty if the image resembles no other.
        candidates: number of nearest neighbours of each image.
        corpus: only the first `corpus` rows search for candidates (in all rows); None: every row does.

    Returns:
        The pairs in ascending order.
    """
    vectors = lsh.astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    n, searching = len(vectors), len(vectors) if corpus is None else corpus
    kept = min(candidates, n - 1)
    keys = [_within_groups(group_numbers(groups), n)]
    for start in range(0, searching, _QUERIES_AT_ONCE):
        rows = np.arange(start, min(start + _QUERIES_AT_ONCE, searching))
        cosines = vectors[rows] @ vectors.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argpartition(-cosines, kept - 1, axis=1)[:, :kept]
        keys.append(_keys(np.repeat(rows, kept), nearest.ravel(), n))
    unique = np.unique(np.concatenate(keys))
    a, b = unique // n, unique % n
    numbers = group_numbers(groups)
    return Pairs(a, b, numbers[a] == numbers[b])


def _keys(a: NDArray[np.int64], b: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return np.minimum(a, b) * n + np.maximum(a, b)


def _within_groups(numbers: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    order = np.argsort(numbers, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    pairs = [_keys(run[i], run[j], n) for run in runs for i, j in [np.triu_indices(len(run), 1)]]
    return np.concatenate(pairs) if pairs else np.zeros(0, np.int64)
