"""What a term space costs and finds, measured on a sample and extrapolated to a corpus.

Not part of the data flow: signatures of the sample and the true pairs → **one row of the table of `neardup tune`**.
Every comparison uses whole signatures, so the result is the limit of ranking by signature. The index additionally loses
what its shortlist by the first 256 bits and, beyond `terms.scan_images`, its cells leave out: `neardup bench search`
measures the index itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.learning.terms.term_truth import Ints, Truth, rank_of
from neardup_platform.terms.error_maths import expected_postings, within_probability
from neardup_platform.terms.hyperplanes import TermSpace, hamming
from neardup_platform.terms.parts import HEAD_WORDS

# Numbers of candidates per image to evaluate, besides the most that may be scored; the original system scanned up to
# 2,500.
CANDIDATES = (100, 200, 500, 1_000, 2_500)
# The index stores for each image its signature and one 4-byte ordinal.
ORDINAL_BYTES, WORD_BYTES = 4, 8


@dataclass(frozen=True, slots=True)
class RecallWithin:
    """Recall within the first K candidates, of the true pairs that exhaustive cosine puts within its first 100.

    Attributes:
        k: candidates.
        recall: among N images, ranked by Hamming distance over the whole signature; extrapolated if N exceeds the
            sample (`term_truth`).
        overlap_recall: the same, ranked by the number of equal terms.
        predicted_recall: the expectation of `error_maths.within_probability` for the pairs' cosines at the distance
            within which there are fewer than K of N images; None if nothing was extrapolated.
        sample_recall, sample_overlap_recall: measured in the sample.
    """

    k: int
    recall: float
    overlap_recall: float
    predicted_recall: float | None
    sample_recall: float
    sample_overlap_recall: float


@dataclass(frozen=True, slots=True)
class SpaceMetrics:
    """The metrics of one term space.

    Attributes:
        tables, bits: T and k.
        bytes_per_image: of the index: 8 per word of the signature and of its head, and 4 for the ordinal.
        sharing_a_term: share of all true pairs with at least one equal term.
        postings_expected: equal terms of an unrelated pair, by `error_maths.expected_postings` of their cosines: what
            an inverted index would read per image and query.
        postings: the same, measured.
        within: by K ascending.
    """

    tables: int
    bits: int
    bytes_per_image: int
    sharing_a_term: float
    postings_expected: float
    postings: float
    within: tuple[RecallWithin, ...]


@dataclass(frozen=True, slots=True)
class _Compared:
    """Costs 0…most; `ranks` and `costs` int64 [m] of the true pairs, `unrelated` int64 [most + 1], a histogram."""

    ranks: Ints
    costs: Ints
    unrelated: Ints


def measure_space(
    space: TermSpace, vectors: NDArray[np.float32], truth: Truth, candidates: Sequence[int] = CANDIDATES
) -> SpaceMetrics:
    """Compare every query with every picture.

    Args:
        space: fitted without whitening: the cosines of `truth` are those of its centred vectors.
        vectors: float32 [n, dim], the sample.
        truth: of the same sample.
        candidates: each K to evaluate, ascending.
    """
    signatures, signature_bits = space.hash(vectors).signatures, space.tables * space.bits
    by_bits = _compare(lambda query: hamming(signatures, signatures[query]), signature_bits, truth)
    by_terms = _compare(lambda query: space.tables - space.overlap(signatures, signatures[query]), space.tables, truth)
    unrelated = int(by_terms.unrelated.sum())
    unequal = float(by_terms.unrelated @ np.arange(space.tables + 1))
    return SpaceMetrics(
        space.tables,
        space.bits,
        WORD_BYTES * (space.words + HEAD_WORDS) + ORDINAL_BYTES,
        float((by_terms.costs < space.tables).mean()),
        expected_postings(truth.unrelated_cosines, space.tables, space.bits),
        space.tables - unequal / unrelated,
        tuple(_within(k, by_bits, by_terms, truth, signature_bits) for k in candidates),
    )


def _compare(costs_of: Callable[[int], Ints], most: int, truth: Truth) -> _Compared:
    ranks, own_costs = np.zeros(len(truth.rows), np.int64), np.zeros(len(truth.rows), np.int64)
    unrelated = np.zeros(most + 1, np.int64)
    bounds = np.searchsorted(truth.rows, np.arange(len(truth.queries) + 1))
    for row, query in enumerate(truth.queries):
        # uint16 values are sorted by counting.
        costs = costs_of(query).astype(np.uint16)
        pairs = slice(bounds[row], bounds[row + 1])
        ranks[pairs] = rank_of(costs, query, truth.neighbours[pairs])
        own_costs[pairs] = costs[truth.neighbours[pairs]]
        unrelated += np.bincount(costs[truth.unrelated[row]], minlength=most + 1)
    return _Compared(ranks, own_costs, unrelated)


def _within(k: int, by_bits: _Compared, by_terms: _Compared, truth: Truth, signature_bits: int) -> RecallWithin:
    in_sample = [float((found.ranks < k)[truth.within_sample].mean()) for found in (by_bits, by_terms)]
    if not truth.extrapolated:
        return RecallWithin(k, in_sample[0], in_sample[1], None, in_sample[0], in_sample[1])
    limits = [_last_cost(found.unrelated, k, truth.images) for found in (by_bits, by_terms)]
    among = [
        float((found.costs <= limit)[truth.within].mean())
        for found, limit in zip((by_bits, by_terms), limits, strict=True)
    ]
    predicted = _predicted(truth.cosines[truth.within], signature_bits, limits[0])
    return RecallWithin(k, among[0], among[1], predicted, in_sample[0], in_sample[1])


def _last_cost(unrelated: Ints, k: int, images: int) -> int:
    """The largest cost that fewer than K of this many unrelated images are expected not to exceed; −1: none."""
    expected = np.cumsum(unrelated) * (images / unrelated.sum())
    return int(np.searchsorted(expected, k)) - 1


def _predicted(cosines: NDArray[np.float64], signature_bits: int, distance: int) -> float:
    # Steps of a hundredth are fine enough for the curve: they change the mean by less than 0.001.
    values, counts = np.unique(np.round(cosines, 2), return_counts=True)
    chances = [within_probability(float(value), signature_bits, distance) for value in values]
    return float(np.average(chances, weights=counts))
