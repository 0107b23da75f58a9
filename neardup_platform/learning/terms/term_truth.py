"""The reference for signatures: the true pairs that exhaustive search by cosine finds.

Not part of the data flow: a sample with its groups → **true pairs, unrelated pairs** → metrics of a term space. The
definition is that of `neardup bench search`: a true pair counts if the cosine of the centred vectors puts the second
picture within the first FIRST of the first, which no ranking of signatures can be expected to beat.

For a corpus larger than the sample, all pairs of a query and a picture of another group, or of none, are pooled. If a
share s of them is as near as a true pair or nearer, then N·s of N images are expected to be, and the pair is within the
first K if N·s < K: its cosine or distance is compared with the quantile at K/N. This is an extrapolation, not a
measurement. It assumes that the sample's unrelated pairs are those of the corpus; the nearest of them, which decide,
are few and not independent: pictures of one site or one scene. It gives every query the average crowding, so queries in
crowded regions do worse and others better. The rest of the query's own group takes no places. If fewer than
FEWEST_NEARER pairs decide, the extrapolation is refused.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.learning.terms.term_sample import ALONE

FIRST = 100
# Unrelated pairs that determine the last place within FIRST; with 10 the relative standard error is a third.
FEWEST_NEARER = 10
# Queries are sampled at random beyond this many comparisons: about a gigabyte of working memory.
MOST_COMPARISONS = 60_000_000
_MOST_COSINES = 500_000
_SEED = 1

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """True pairs, in both directions, and unrelated ones.

    Attributes:
        images: N, size of the corpus to evaluate for.
        queries: int64 [q], rows of the sample used as queries.
        rows: int64 [m], the query of each true pair as its position in `queries`; ascending.
        neighbours: int64 [m], row of the sample of its other picture.
        cosines: float64 [m], of the centred vectors.
        within_sample: bool [m], exhaustive search of the sample puts the pair within its first FIRST.
        within: bool [m], exhaustive search of N images is expected to; the same if N does not exceed the sample.
        unrelated: bool [q, n], pictures of another group than the query, or of none.
        unrelated_cosines: float64 [≤ 500,000], of unrelated pairs, evenly sampled.
    """

    images: int
    queries: Ints
    rows: Ints
    neighbours: Ints
    cosines: NDArray[np.float64]
    within_sample: NDArray[np.bool_]
    within: NDArray[np.bool_]
    unrelated: NDArray[np.bool_]
    unrelated_cosines: NDArray[np.float64]

    @property
    def extrapolated(self) -> bool:
        """Whether the corpus is larger than the sample."""
        return self.images > len(self.unrelated[0])


def find_truth(unit: NDArray[np.float32], groups: Ints, images: int) -> Truth:
    """Compare every picture that has a near-duplicate with the whole sample.

    Args:
        unit: float32 [n, dim], centred, of length 1.
        groups: int64 [n], equal for near-duplicates; ALONE for none.
        images: size of the corpus to evaluate for.

    Raises:
        SetupError: there are too few unrelated pairs to extrapolate to so many images, or exhaustive search is expected
            to find no true pair among them.
    """
    queries = _queries(groups)
    cosines = unit[queries] @ unit.T
    same = groups[queries][:, None] == groups[None, :]
    unrelated = ~same
    same[np.arange(len(queries)), queries] = False
    rows, neighbours = np.nonzero(same)
    pairs = cosines[rows, neighbours]
    within_sample = within = _ranks(-cosines, queries, rows, neighbours) < FIRST
    unrelated_cosines = cosines[unrelated]
    if images > len(unit):
        within = pairs > _last_place(unrelated_cosines, images)
    if not within.any():
        raise SetupError(
            f"exhaustive search by cosine finds none of the {len(rows):,} true pairs within the first {FIRST} of "
            f"{images:,} images: lower --images, or use another embedder"
        )
    drawn = unrelated_cosines[:: 1 + len(unrelated_cosines) // _MOST_COSINES].astype(np.float64)
    return Truth(images, queries, rows, neighbours, pairs.astype(np.float64), within_sample, within, unrelated, drawn)


def rank_of(costs: NDArray[np.generic], query: int, neighbours: Ints) -> Ints:
    """How many pictures rank before each neighbour: cheapest first, ties by age, without the query itself.

    Args:
        costs: [n], any ordered type.
        query: row of the query.
        neighbours: int64 [m], rows.
    """
    places = np.empty(len(costs), np.int64)
    places[np.argsort(costs, kind="stable")] = np.arange(len(costs))
    ranks: Ints = places[neighbours] - (places[query] < places[neighbours])
    return ranks


def _queries(groups: Ints) -> Ints:
    sizes = np.bincount(groups[groups != ALONE])
    queries = np.flatnonzero((groups != ALONE) & (sizes[np.maximum(groups, 0)] > 1))
    most = max(1, MOST_COMPARISONS // len(groups))
    if len(queries) <= most:
        return queries
    return np.sort(np.random.default_rng(_SEED).choice(queries, most, replace=False))


def _ranks(costs: NDArray[np.float32], queries: Ints, rows: Ints, neighbours: Ints) -> Ints:
    bounds = np.searchsorted(rows, np.arange(len(queries) + 1))
    parts = [neighbours[begin:end] for begin, end in pairwise(bounds)]
    return np.concatenate([rank_of(row, q, part) for row, q, part in zip(costs, queries, parts, strict=True)])


def _last_place(unrelated_cosines: NDArray[np.float32], images: int) -> float:
    """The cosine above which fewer than FIRST of this many unrelated images are expected."""
    nearer = FIRST * len(unrelated_cosines) / images
    if nearer < FEWEST_NEARER:
        most = FIRST * len(unrelated_cosines) // FEWEST_NEARER
        raise SetupError(
            f"{len(unrelated_cosines):,} unrelated pairs cannot predict the ranking of {images:,} images, at most "
            f"{most:,}: lower --images, or add more pictures (--diverse)"
        )
    place = int(np.ceil(nearer))
    return float(np.partition(unrelated_cosines, len(unrelated_cosines) - place)[len(unrelated_cosines) - place])
