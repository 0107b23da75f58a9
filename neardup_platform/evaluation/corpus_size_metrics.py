"""The metrics of an evaluation by corpus size: what `neardup evaluate --json` prints as `by_corpus_size`. Pure.

Outcome → scored pairs by group → rates, for all groups and for draws of them → **a row for each corpus size**.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from neardup_platform.evaluation.corpus_growth import (
    Rates,
    ScoredPairs,
    pairs_of_pictures,
    precision_of,
    rates,
    scored_pairs,
    threshold_for,
    wrong_per_image,
)
from neardup_platform.evaluation.measures import TARGET_PRECISION
from neardup_platform.evaluation.outcome import Evaluation, Outcome
from neardup_platform.scoring.group_bootstrap import RESAMPLES, draws_of_groups, middle, widened
from neardup_platform.scoring.score_tail import CEILING, Tail, logits_of, tail_start

LADDER = 1_000, 3_000, 10_000, 30_000, 100_000, 300_000
EXTRAPOLATED = 100_000, 1_000_000, 10_000_000
_PER_1000 = 1_000
_LOWEST_SCORE = 0.01
_LEVEL_STEP = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """Scored pairs of an evaluation, and their rates.

    Attributes:
        images: evaluated pictures that were compared with each other; the mean over parts.
        pairs: scored pairs.
        threshold: of a match, as a logit.
        rates: over all groups.
        tail: of the wrong pairs; None if they are too few.
    """

    images: int
    pairs: ScoredPairs
    threshold: float
    rates: Rates
    tail: Tail | None

    @property
    def at(self) -> int:
        """The place of the threshold in the levels."""
        return int(np.searchsorted(self.rates.levels, self.threshold))


@dataclass(frozen=True, slots=True)
class Growth:
    """An evaluation in terms of corpus size, with its uncertainty.

    Attributes:
        measured: over all groups.
        draws: rates over draws of groups.
        confused: pairs of groups with a wrong match at the threshold.
        rate_of_each: what one of them adds to the rate of wrong matches; if there is none, what two groups of average
            size would.
    """

    measured: Measured
    draws: Sequence[Rates]
    confused: int
    rate_of_each: float


def measured_rates(evaluation: Evaluation, whole: Outcome) -> Measured:
    """The rates of an evaluation without their uncertainty.

    Args:
        evaluation: whose runs give the parts and the threshold, the mean of theirs.
        whole: all runs side by side, with at least two pictures.
    """
    part = np.repeat(np.arange(len(evaluation.runs)), [len(run.part) for run in evaluation.runs])
    threshold = float(np.mean([run.matching.threshold for run in evaluation.runs]))
    pairs = scored_pairs(logits_of(whole.scores), whole.true, (whole.later, whole.earlier), whole.groups, part)
    return rates_at(pairs, round(len(part) / len(evaluation.runs)), threshold)


def rates_at(pairs: ScoredPairs, images: int, threshold: float) -> Measured:
    """The rates of scored pairs at every level, and at the threshold of a match.

    Args:
        pairs: of an evaluation.
        images: that were compared with each other.
        threshold: 0…1, of a match.
    """
    present = float(np.clip(logit(threshold), -CEILING, CEILING))
    levels = np.unique([*np.arange(logit(_LOWEST_SCORE), CEILING, _LEVEL_STEP), present, CEILING])
    found, tail = rates(pairs, levels, tail_start(pairs.wrong), np.ones(len(pairs.pictures), np.int64))
    return Measured(images, pairs, present, found, tail)


def growth_of(measured: Measured, seed: int = 0, resamples: int = RESAMPLES) -> Growth:
    """Add the uncertainty of the rates, by drawing groups with `seed`, `resamples` times.

    Every other draw admits a tail lighter than exponential, which the estimate excludes to be on the safe side: so the
    interval reaches from what a light tail promises to what a heavy one threatens.
    """
    pairs, groups = measured.pairs, len(measured.pairs.pictures)
    start = None if measured.tail is None else measured.tail.start
    every = draws_of_groups(groups, seed, resamples)
    draws = [rates(pairs, measured.rates.levels, start, drawn, light=n % 2 == 1)[0] for n, drawn in enumerate(every)]
    matched = pairs.wrong_groups[:, pairs.wrong >= measured.threshold]
    confused = len(np.unique(matched.min(axis=0) * groups + matched.max(axis=0)))
    possible = pairs_of_pictures(pairs, np.ones(groups, np.int64))
    of_two_groups = matched.shape[1] / confused if confused else float(np.mean(pairs.pictures)) ** 2
    return Growth(measured, draws, confused, of_two_groups / max(1.0, possible))


def corpus_sizes(images: int) -> list[tuple[int, bool]]:
    """Corpus sizes to report, ascending, and whether each is extrapolated."""
    measured = [*(size for size in LADDER if size < images), images]
    return [*((size, False) for size in measured), *((size, True) for size in EXTRAPOLATED if size > images)]


def by_corpus_size(growth: Growth) -> list[dict[str, Any]]:
    """A row for each corpus size: wrong matches, precision, and the threshold that keeps TARGET_PRECISION.

    Returns:
        `images`; `extrapolated`; `wrong_matches_per_1000` and `precision` at the present threshold; `threshold_at_p99`,
        None if no score reaches that precision; `recall_at_p99` there; all with `…_low` and `…_high`, a 95% interval.
        The last two are None if the tail is unknown.
    """
    return [_row(growth, size, beyond) for size, beyond in corpus_sizes(growth.measured.images)]


def tail_metrics(measured: Measured) -> dict[str, Any]:
    """The tail of the wrong pairs, and how many pairs are saturated.

    Returns:
        `score` and `logit` from which it is fitted, `pairs` above, `scale` in logits and `shape`, None if unknown;
        `saturated_wrong` and `saturated_true`, pairs whose score is 1 or the last float32 before it.
    """
    tail, pairs = measured.tail, measured.pairs
    fitted: dict[str, Any] = dict.fromkeys(("score", "logit", "pairs", "scale", "shape"))
    if tail is not None:
        above = int((pairs.wrong > tail.start).sum())
        fitted |= {"score": float(expit(tail.start)), "logit": tail.start, "pairs": above}
        fitted |= {"scale": tail.scale, "shape": tail.shape}
    return {
        **fitted,
        "saturated_wrong": int((pairs.wrong >= CEILING).sum()),
        "saturated_true": int((pairs.true >= CEILING).sum()),
    }


def wrong_matches(growth: Growth, corpus: int, *, extrapolated: bool) -> tuple[float, float, float]:
    """Wrong matches per image at the present threshold, and their interval.

    Measured ones are counted; extrapolated ones follow the tail if the threshold is within it.
    """
    measured = growth.measured
    by_tail = extrapolated and measured.tail is not None and measured.threshold > measured.tail.start

    def value(found: Rates) -> float:
        rate = found.wrong if by_tail else found.counted
        return wrong_per_image(float(rate[measured.at]), corpus)

    interval = middle([value(draw) for draw in growth.draws])
    if not by_tail:
        interval = widened(interval, growth.confused, wrong_per_image(growth.rate_of_each, corpus))
    return value(measured.rates), *interval


def _row(growth: Growth, size: int, extrapolated: bool) -> dict[str, Any]:
    wrong, low, high = wrong_matches(growth, size, extrapolated=extrapolated)
    found = growth.measured.rates
    true = found.true_per_image * found.found[growth.measured.at]
    precision = precision_of(np.full(3, true), np.array([wrong, high, low]))
    return {
        "images": size,
        "extrapolated": extrapolated,
        **_named("wrong_matches_per_1000", wrong * _PER_1000, low * _PER_1000, high * _PER_1000),
        **_named("precision", *precision.tolist()),
        **_operating_point(growth, size),
    }


def _operating_point(growth: Growth, size: int) -> dict[str, float | None]:
    threshold, recall = "threshold_at_p99", "recall_at_p99"
    if growth.measured.tail is None:
        return {**_named(threshold, None, None, None), **_named(recall, None, None, None)}
    best, *others = (_point(each, size) for each in (growth.measured.rates, *growth.draws))
    draws = np.array(others)
    return {
        **_named(threshold, *(_score(level) for level in (best[0], *middle(draws[:, 0])))),
        **_named(recall, best[1], *middle(draws[:, 1])),
    }


def _point(found: Rates, size: int) -> tuple[float, float]:
    """The threshold as a logit and the recall there; infinity and 0 if no threshold reaches the precision."""
    at = threshold_for(found, size, TARGET_PRECISION)
    return (np.inf, 0.0) if at is None else (float(found.levels[at]), float(found.found[at]))


def _score(level: float) -> float | None:
    return None if np.isinf(level) else float(expit(level))


def _named(name: str, value: float | None, low: float | None, high: float | None) -> dict[str, float | None]:
    return {name: value, f"{name}_low": low, f"{name}_high": high}
