"""Fits thresholds to the distinctiveness of an image and to the size of the corpus. Pure.

Held-out scores, crowding → **strata, tails of wrong pairs → table of thresholds** → card. An image to decide meets all
images before it, so its wrong matches grow with their number and its true ones do not; `evaluation/corpus_growth.py`
measures the same for a whole corpus. The images of each step have together the target precision, unless that costs
more of the true matches than STEP_KEPT and KEPT allow. From there on the precision is only stated, not held.

Conformal risk control would bound the wrong matches of one size without a model of the tail. It cannot say anything of
larger corpora, which no held-out set of this size contains.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from neardup_platform.learning.classifier.candidate_pairs import Pairs
from neardup_platform.scoring.distinctiveness import plain_pictures, undistinctive
from neardup_platform.scoring.features import Block
from neardup_platform.scoring.group_bootstrap import draws_of_groups, middle
from neardup_platform.scoring.reference import Reference, parts_of
from neardup_platform.scoring.score_tail import CEILING, fit_tail, tail_start
from neardup_platform.scoring.second_look import sketch_slice
from neardup_platform.scoring.threshold_table import StratumThresholds, ThresholdStep, ThresholdTable
from neardup_platform.scoring.vectors import Float16, ImageVectors

# Where steps begin. The last one is fitted as if it ended at three times its beginning.
STEPS = (0, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
_END = 30_000_000
# The share of the true pairs found in one step that the next one must find. Heads may lose more: only an image whose
# match is no head is lost with them.
STEP_KEPT, HEAD_STEP_KEPT = 0.96, 0.9
# Of the true pairs found in an empty corpus, the share that is found in any, by stratum: an undistinctive picture that
# is merged wrongly does more harm than a copy of it that is missed.
KEPT, KEPT_IF_UNDISTINCTIVE = 0.9, 0.5
# Fewer wrong pairs at the head threshold do not tell strata apart.
_LEAST_WRONG = 50
_RESAMPLES = 400
_LEVEL_STEP = 0.02
_PER_1000 = 1_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Goal:
    """What a threshold is to reach as the corpus grows.

    Attributes:
        threshold: 0…1, of an empty corpus; it never falls below.
        precision: of pairs, to hold.
        kept: share of the true pairs found in one step that the next one must find.
    """

    threshold: float
    precision: float
    kept: float


@dataclass(frozen=True, slots=True)
class Decided:
    """The pairs that images of one stratum decide: each image decides its pairs with all earlier ones.

    Any order of images is as likely as another, so a pair counts half for either of its images.

    Attributes:
        logits: float64 [n], of pairs with an image in the stratum.
        same: bool [n].
        weights: float64 [n], 0.5 or 1.
        groups: int64 [2, n], of their images, numbered from 0.
        deciding, pictures: int64 [groups], images of the stratum, and all.
    """

    logits: Floats
    same: NDArray[np.bool_]
    weights: Floats
    groups: NDArray[np.int64]
    deciding: NDArray[np.int64]
    pictures: NDArray[np.int64]

    def reaching(self, level: float) -> "Decided":
        """Returns the true pairs, and of the others those at or above a logit."""
        near = self.same | (self.logits >= level)
        pairs = self.logits[near], self.same[near], self.weights[near], self.groups[:, near]
        return Decided(*pairs, self.deciding, self.pictures)

    @classmethod
    def of(cls, scores: Floats, pairs: Pairs, groups: NDArray[np.int64], members: NDArray[np.bool_]) -> "Decided":
        """Picks the pairs of a stratum.

        Args:
            scores: float64 [n], held out.
            pairs: n pairs.
            groups: int64 [m], of each picture; near-duplicates have the same.
            members: bool [m], the pictures of the stratum.
        """
        numbers = np.unique(groups, return_inverse=True)[1]
        count = int(numbers.max()) + 1
        weights = (members[pairs.a].astype(np.float64) + members[pairs.b]) / 2
        kept = np.flatnonzero(weights)
        ends = np.stack([numbers[pairs.a[kept]], numbers[pairs.b[kept]]])
        sizes = (np.bincount(numbers[which], minlength=count) for which in (members, np.ones_like(members)))
        logits = np.clip(logit(scores[kept]), -CEILING, CEILING)
        return cls(logits, pairs.same[kept], weights[kept], ends, *sizes)


@dataclass(frozen=True, slots=True)
class DecisionRates:
    """What an image of a stratum matches, by threshold.

    Attributes:
        wrong: float64 [t], 0…1, probability of a wrong match with an image of the corpus.
        found: float64 [t], 0…1, share of the true pairs that match.
        true_per_image: true pairs with earlier images, for each image.
    """

    wrong: Floats
    found: Floats
    true_per_image: float

    def precision(self, images: float) -> Floats:
        """Expected precision of the matches of an image, float64 [t], with so many images before it."""
        true, wrong = self.true_per_image * self.found, self.wrong * images
        return np.divide(true, true + wrong, out=np.ones_like(true), where=true + wrong > 0)


def decision_rates(
    decided: Decided, levels: Floats, start: float, drawn: NDArray[np.int64] | None = None, *, light: bool = False
) -> DecisionRates:
    """Counts matches up to the start of the tail of wrong pairs, and follows the tail above it.

    Args:
        decided: pairs of a stratum.
        levels: float64 [t], thresholds as logits, ascending.
        start: of the tail, a logit.
        drawn: int64 [groups], how often each group counts; None for once.
        light: whether the tail may be lighter than exponential; see `fit_tail`.
    """
    drawn = np.ones(len(decided.pictures), np.int64) if drawn is None else drawn
    first, second = drawn[decided.groups]
    same, logits = decided.same, decided.logits
    weights = decided.weights * np.where(same, first, first * second)
    wrong, right = (_at_or_above(logits[which], weights[which], levels) for which in (~same, same))
    beyond = float(weights[~same & (logits > start)].sum())
    tail = fit_tail(logits[~same], weights[~same], start, light=light)
    wrong = np.where(levels > start, beyond * tail.survival(levels), wrong)
    deciding, all_true = int(drawn @ decided.deciding), float(weights[same].sum())
    met = max(1, deciding * (int(drawn @ decided.pictures) - 1)) / 2
    return DecisionRates(wrong / met, right / max(all_true, 1.0), all_true / max(1, deciding))


def crowding_level(crowding: NDArray[np.float32], pairs: Pairs, scores: Floats, head_threshold: float) -> float | None:
    """The crowding that best tells wrong from true matches: the largest difference of their shares at or above it.

    This is Youden's J (*Index for rating diagnostic tests*, 1950), over the images of pairs that reach the head
    threshold.

    Args:
        crowding: float32 [m], of each picture.
        pairs: n pairs.
        scores: float64 [n], held out.
        head_threshold: 0…1.

    Returns:
        None if wrong pairs are too few, or no more crowded than true ones.
    """
    near = scores >= head_threshold
    wrong, true = (
        np.sort(np.concatenate([crowding[pairs.a[which]], crowding[pairs.b[which]]]))
        for which in (near & ~pairs.same, near & pairs.same)
    )
    if len(wrong) < 2 * _LEAST_WRONG or not len(true):
        return None
    levels = np.unique(crowding)
    shares = (1 - np.searchsorted(values, levels) / len(values) for values in (wrong, true))
    difference = np.subtract(*shares)
    best = int(np.argmax(difference))
    return float(levels[best]) if difference[best] > 0 else None


def find_undistinctive(
    vectors: ImageVectors,
    blocks: Sequence[Block],
    reference: Float16,
    pairs: Pairs,
    scores: Floats,
    head_threshold: float,
) -> tuple[float | None, NDArray[np.bool_]]:
    """Chooses the crowding level; returns it, and which pictures are undistinctive by it, bool [m].

    Args:
        vectors: of the pictures.
        blocks: of the pair vector, a sketch among them.
        reference: float16 [images, entries], content of `reference.npy`.
        pairs, scores, head_threshold: see `crowding_level`.
    """
    crowding = Reference(reference, parts_of(vectors.lsh.shape[1], blocks)).nearest(vectors)
    level = crowding_level(crowding, pairs, scores, head_threshold)
    return level, undistinctive(crowding, plain_pictures(vectors.pair[:, sketch_slice(blocks)]), level)


def fit_table(
    scores: Floats,
    pairs: Pairs,
    groups: NDArray[np.int64],
    strata: tuple[float | None, NDArray[np.bool_]],
    match: Goal,
    head: Goal,
    seed: int = 0,
) -> ThresholdTable | None:
    """Fits the thresholds of every step and stratum.

    Args:
        scores: float64 [n], held out.
        pairs: n pairs.
        groups: int64 [m], of each picture.
        strata: the crowding level, and bool [m], which pictures are undistinctive.
        match, head: thresholds of an empty corpus, and the precision of pairs to hold.
        seed: of the bootstrap over groups.

    Returns:
        None if wrong pairs are too few to know their tail; if only those of one stratum are, both have the same
        thresholds.
    """
    level, members = strata
    for chosen in ([~members, members], [np.ones_like(members)]):
        decided = [Decided.of(scores, pairs, groups, stratum) for stratum in chosen]
        starts = [tail_start(each.logits[~each.same]) if each.same.any() else None for each in decided]
        known = [start for start in starts if start is not None]
        if len(known) == len(chosen):
            kept = (KEPT, KEPT_IF_UNDISTINCTIVE)[: len(chosen)]
            fitted = [list(_stratum_steps(*each, match, head, seed)) for each in zip(decided, known, kept, strict=True)]
            steps = zip(STEPS, fitted[0], fitted[-1], strict=True)
            return ThresholdTable(level, tuple(ThresholdStep(*step) for step in steps))
    return None


def _stratum_steps(
    decided: Decided, start: float, kept: float, match: Goal, head: Goal, seed: int
) -> Iterator[StratumThresholds]:
    """The thresholds of every step; `kept` is the share of the true matches of an empty corpus to find in any."""
    bases = logit([match.threshold, head.threshold])
    levels = np.unique([*np.arange(bases[1], CEILING, _LEVEL_STEP), *bases])
    at_match, at_head = np.searchsorted(levels, bases).tolist()
    decided = decided.reaching(min(start, float(levels[0])))
    rates = decision_rates(decided, levels, start)
    draws = [
        decision_rates(decided, levels, start, drawn, light=n % 2 == 1).wrong
        for n, drawn in enumerate(draws_of_groups(len(decided.pictures), seed, _RESAMPLES))
    ]
    least_match, least_head = (kept * rates.found[at] for at in (at_match, at_head))
    for begin, end in pairwise((*STEPS, _END)):
        images = (begin + end) / 2
        at_match = raised(rates, images, match, at_match, float(least_match))
        at_head = min(at_match, raised(rates, images, head, at_head, float(least_head)))
        low, high = middle([float(wrong[at_match]) for wrong in draws])
        yield StratumThresholds(
            float(expit(levels[at_match])),
            float(expit(levels[at_head])),
            float(rates.wrong[at_match]) * images * _PER_1000,
            low * images * _PER_1000,
            high * images * _PER_1000,
            float(rates.precision(images)[at_match]),
            float(rates.found[at_match]),
        )


def raised(rates: DecisionRates, images: float, goal: Goal, at: int, least_found: float) -> int:
    """Returns the place of the lowest level from `at` on that holds a precision, or as far as recall allows.

    Args:
        rates: by level, ascending.
        images: before the image to decide.
        goal: the precision to hold, and the share of what the present level finds to keep.
        at: place of the present level; the result is no lower.
        least_found: recall to keep in any case.
    """
    precise = np.flatnonzero(rates.precision(images)[at:] >= goal.precision)
    allowed = np.flatnonzero(rates.found[at:] >= max(goal.kept * rates.found[at], least_found))
    wanted = int(precise[0]) if len(precise) else len(rates.found) - 1 - at
    return at + min(wanted, int(allowed[-1]) if len(allowed) else 0)


def _at_or_above(logits: Floats, weights: Floats, levels: Floats) -> Floats:
    order = np.argsort(logits)
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    return np.asarray(sums[-1] - sums[np.searchsorted(logits[order], levels)])
