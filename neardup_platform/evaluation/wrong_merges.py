"""Wrong pairs in one cluster, by domain: how many there are for each thousand pictures, and how certain that is. Pure.

Clusters, groups and subsets → **wrong pairs per 1,000 pictures, mixed clusters** → metrics. Precision of a subset says
what share of its joined pairs is wrong, which depends on how many copies its pictures have; this does not.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.evaluation.measures import MIXED_GROUPS
from neardup_platform.scoring.group_bootstrap import RESAMPLES, draws_of_groups, middle, widened

WRONG_PAIRS = "wrong_pairs_per_1000"
_PICTURES = 1_000

_Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Cells:
    """Pictures by cluster and group, one cell for each of the two that occurs.

    Attributes:
        cluster, group: int64 [cells].
        pictures: int64 [cells], in the cell.
    """

    cluster: _Integers
    group: _Integers
    pictures: _Integers

    def pairs(self, weights: NDArray[np.float64] | _Integers) -> float:
        """The pairs of weights in one cluster and two groups: (Σ² − Σ of squares) / 2 in each cluster, summed."""
        sums = np.bincount(self.cluster, weights)
        return float(sums @ sums - weights @ weights) / 2


def wrong_merges(
    clusters: Sequence[int],
    groups: Sequence[int],
    marked: NDArray[np.bool_],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, int | float]:
    """Wrong pairs in one cluster of which either picture is marked, per 1,000 marked pictures, with a 95% interval.

    The interval is that of a bootstrap over groups, no narrower than the Poisson interval of as many independent
    confusions of two groups. Without any, one confusion is taken to join two groups of average size.

    Args:
        clusters, groups: of each image, numbered from 0; every distractor has its own group.
        marked: bool [images], at least one, those of a subset.
        seed, resamples: of the bootstrap.

    Returns:
        `wrong_pairs_per_1000`, `…_low`, `…_high`, and `mixed_clusters`, those with a marked picture and MIXED_GROUPS or
        more groups.
    """
    group_of = np.asarray(groups, np.int64)
    cells, inside = _cells(np.asarray(clusters, np.int64), group_of, marked)
    outside = cells.pictures - inside
    marked_of_group = np.bincount(group_of[marked], minlength=int(group_of.max()) + 1)

    def per_1000(drawn: _Integers) -> float:
        times = drawn[cells.group]
        wrong = cells.pairs(times * cells.pictures) - cells.pairs(times * outside)
        return _PICTURES * wrong / max(1, int(drawn @ marked_of_group))

    value = per_1000(np.ones_like(marked_of_group))
    confused = round(cells.pairs(np.ones_like(inside)) - cells.pairs((inside == 0).astype(np.int64)))
    pictures, groups_marked = int(marked.sum()), int((marked_of_group > 0).sum())
    of_each = value / confused if confused else _PICTURES * (pictures / groups_marked) ** 2 / pictures
    # No draw contains a wrong pair that the whole does not.
    every = draws_of_groups(len(marked_of_group), seed, resamples if confused else 1)
    low, high = widened(middle([per_1000(drawn) for drawn in every]), confused, of_each)
    return {
        WRONG_PAIRS: value,
        f"{WRONG_PAIRS}_low": low,
        f"{WRONG_PAIRS}_high": high,
        "mixed_clusters": _mixed(cells, inside),
    }


def wrong_merges_by_mark(
    clusters: Sequence[int], groups: Sequence[int], marks: Sequence[str]
) -> dict[str, dict[str, int | float]]:
    """`wrong_merges` of the images of each mark, by mark, ascending.

    Args:
        clusters, groups: of each image, numbered from 0; every distractor has its own group.
        marks: of each image.
    """
    of_image = np.array(marks)
    return {mark: wrong_merges(clusters, groups, of_image == mark) for mark in sorted(Counter(marks))}


def _cells(clusters: _Integers, groups: _Integers, marked: NDArray[np.bool_]) -> tuple[_Cells, _Integers]:
    """The cells of clusters with two or more groups, and the number of marked pictures in each."""
    pairs, cell, pictures = np.unique(np.stack([clusters, groups]), axis=1, return_inverse=True, return_counts=True)
    inside = np.bincount(cell, marked, minlength=len(pictures)).astype(np.int64)
    several = np.bincount(pairs[0])[pairs[0]] > 1
    return _Cells(pairs[0][several], pairs[1][several], pictures[several].astype(np.int64)), inside[several]


def _mixed(cells: _Cells, inside: _Integers) -> int:
    groups, marked = np.bincount(cells.cluster), np.bincount(cells.cluster, inside)
    return int(((groups >= MIXED_GROUPS) & (marked > 0)).sum())
