"""Wrong matches as a function of corpus size: measured below the evaluated size, extrapolated above it. Pure.

Scored pairs → **rates of wrong and of true matches at each threshold** → wrong matches, precision and the threshold
that keeps a precision, in a corpus of any size.

Two pictures drawn at random are a wrong match with a probability p(t) that depends only on the threshold t, and a
corpus of N pictures has N(N − 1)/2 pairs. So there are p(t)·(N − 1)/2 wrong matches for each picture. They grow with N,
while an image has as many copies as before; therefore precision falls. This holds if pictures are added in the
proportions of those evaluated. It overestimates if new kinds of pictures are added that resemble none of the old ones,
and underestimates if one kind, such as receipts of one shop, grows faster than the rest. A worker scores at most K
candidates per image, which caps what it can match wrongly and, long before, what it can match at all.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.score_tail import Tail, fit_tail

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]
_FloatOrFloats = TypeVar("_FloatOrFloats", float, NDArray[np.float64])


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Scored pairs by group, in descending order of their logits; groups are numbered from 0, a distractor being one.

    Attributes:
        wrong: float64 [w], logits of pairs of different groups.
        wrong_groups: int64 [2, w], their groups.
        true: float64 [m], logits of true pairs.
        true_groups: int64 [m], their groups.
        pictures: int64 [g], in each group.
        true_pairs: int64 [g], including those never scored.
        part: int64 [g], the part of the evaluation; pictures of different parts are never compared.
    """

    wrong: _Floats
    wrong_groups: _Integers
    true: _Floats
    true_groups: _Integers
    pictures: _Integers
    true_pairs: _Integers
    part: _Integers


@dataclass(frozen=True, slots=True)
class Rates:
    """How often pairs match, whatever the size of the corpus.

    Attributes:
        levels: float64 [t], thresholds as logits, ascending.
        counted: float64 [t], 0…1, share of the pairs of pictures that are wrong matches, by counting.
        wrong: float64 [t], the same, by the tail of the wrong pairs from its start.
        found: float64 [t], 0…1, share of the true pairs that match.
        true_per_image: true pairs for each picture.
    """

    levels: _Floats
    counted: _Floats
    wrong: _Floats
    found: _Floats
    true_per_image: float

    def precision(self, corpus: int) -> _Floats:
        """Expected precision of matched pairs in a corpus of this size, float64 [t]; 1 where nothing matches."""
        return precision_of(self.true_per_image * self.found, wrong_per_image(self.wrong, corpus))


def scored_pairs(
    logits: _Floats, true: NDArray[np.bool_], ends: tuple[_Integers, _Integers], groups: _Integers, part: _Integers
) -> ScoredPairs:
    """Scored pairs as the functions here need them.

    Args:
        logits: float64 [m].
        true: bool [m], whether both are of the same group.
        ends: positions of the two pictures in `groups`, int64 [m] each.
        groups: int64 [n], of each picture, numbered from 0.
        part: int64 [n], of each picture, numbered from 0.
    """
    first, second = (groups[end] for end in ends)
    order = np.argsort(-logits, kind="stable")
    wrong, right = order[~true[order]], order[true[order]]
    pictures = np.bincount(groups)
    of_group = np.zeros(len(pictures), np.int64)
    of_group[groups] = part
    pairs_of_group = pictures * (pictures - 1) // 2
    between = np.stack([first[wrong], second[wrong]])
    return ScoredPairs(logits[wrong], between, logits[right], first[right], pictures, pairs_of_group, of_group)


def pairs_of_pictures(pairs: ScoredPairs, drawn: _Integers) -> float:
    """The number of pairs of pictures of one part, where each group counts as often as it was drawn."""
    sizes = np.bincount(pairs.part, drawn * pairs.pictures)
    return float(sizes @ (sizes - 1)) / 2


def rates(
    pairs: ScoredPairs, levels: _Floats, tail_from: float | None, drawn: _Integers, *, light: bool = False
) -> tuple[Rates, Tail | None]:
    """Measure the rates, and fit the tail.

    Args:
        pairs: of an evaluation.
        levels: float64 [t], thresholds as logits, ascending.
        tail_from: the logit from which the tail is fitted; None if wrong pairs are too few, and rates are counted.
        drawn: int64 [g], how often each group counts: 1 for the estimate, a draw for the bootstrap.
        light: whether the tail may be lighter than exponential.
    """
    lowest = levels[0] if tail_from is None else min(tail_from, levels[0])
    needed = int(np.searchsorted(-pairs.wrong, -lowest, side="right"))
    logits, (first, second) = pairs.wrong[:needed], pairs.wrong_groups[:, :needed]
    weights = (drawn[first] * drawn[second]).astype(np.float64)
    possible = max(1.0, pairs_of_pictures(pairs, drawn))
    counted = _at_or_above(logits, weights, levels) / possible
    wrong, tail = counted, None
    if tail_from is not None:
        tail = fit_tail(logits, weights, tail_from, light=light)
        beyond = float(weights[logits > tail_from].sum()) / possible
        wrong = np.where(levels > tail_from, beyond * tail.survival(levels), counted)
    true_pairs = max(1, int(drawn @ pairs.true_pairs))
    found = _at_or_above(pairs.true, drawn[pairs.true_groups].astype(np.float64), levels) / true_pairs
    per_image = int(drawn @ pairs.true_pairs) / max(1, int(drawn @ pairs.pictures))
    return Rates(levels, counted, wrong, found, per_image), tail


def wrong_per_image(rate: _FloatOrFloats, corpus: int) -> _FloatOrFloats:
    """Wrong matches expected for each image of a corpus.

    If N of n images, drawn at random, are the corpus, both images of a pair are drawn with probability
    N(N − 1) / (n(n − 1)). So W wrong matches among all become rate · N(N − 1)/2, with rate = W / (n(n − 1)/2), or
    rate · (N − 1)/2 per image. The next image added meets twice as many: all earlier ones are its candidates.

    Args:
        rate: share of the pairs of pictures that are wrong matches.
        corpus: N, number of images.
    """
    return rate * (corpus - 1) / 2


def precision_of(true_matches: _Floats, wrong_matches: _Floats) -> _Floats:
    """The share of true matches among all, float64; 1 where there is none."""
    matches = true_matches + wrong_matches
    return np.divide(true_matches, matches, out=np.ones_like(matches), where=matches > 0)


def threshold_for(measured: Rates, corpus: int, precision: float) -> int | None:
    """The place in `levels` of the lowest threshold with at least this expected precision; None if none reaches it.

    The number of true pairs per image is held constant: as a corpus grows, an image has as many copies as before.

    Args:
        measured: rates of wrong and true matches.
        corpus: number of images.
        precision: 0…1, of matched pairs.
    """
    reached = np.flatnonzero((measured.precision(corpus) >= precision) & (measured.found > 0))
    return int(reached[0]) if len(reached) else None


def _at_or_above(descending: _Floats, weights: _Floats, levels: _Floats) -> _Floats:
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    return np.asarray(sums[np.searchsorted(-descending, -levels, side="right")])
