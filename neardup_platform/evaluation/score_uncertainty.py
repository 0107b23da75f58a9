"""The uncertainty of pair metrics: an interval for recall at a precision, and the calibration of hard pairs. Pure.

Scored pairs → **intervals, errors of uncertain pairs, a curve short enough to print** → metrics.
"""

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.calibration import PrecisionRecall
from neardup_platform.scoring.group_bootstrap import RESAMPLES, draws_of_groups

# Outside this range a pair is clear to any classifier; inside, calibration is tested.
UNCERTAIN = 0.01, 0.99
UNCERTAIN_BINS = 15
CURVE_POINTS = 50


def recall_interval(
    scores: NDArray[np.float32],
    true: NDArray[np.bool_],
    groups: tuple[NDArray[np.int64], NDArray[np.int64]],
    pairs_of_group: NDArray[np.int64],
    precision: float,
    seed: int = 0,
) -> tuple[float, float]:
    """95% interval of the recall at a precision, by resampling groups rather than pairs.

    The interval lies between the percentiles 2.5 and 97.5 of RESAMPLES draws of `group_bootstrap`.

    Args:
        scores: float32 [m], of the scored pairs.
        true: bool [m].
        groups: of the first and of the second image of each pair, int64 [m], below len(pairs_of_group).
        pairs_of_group: int64 [g], true pairs of each group, including those never scored.
        precision: 0…1.
        seed: of the draws.
    """
    order = _confident_first(scores, true)
    if not len(order):
        return 0.0, 0.0
    truth, ends = true[order], np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    first, second = (side[order] for side in groups)
    recalls = np.zeros(RESAMPLES)
    for draw, drawn in enumerate(draws_of_groups(len(pairs_of_group), seed)):
        weights = np.where(truth, drawn[first], drawn[first] * drawn[second])
        hits, matches = np.cumsum(weights * truth)[ends], np.cumsum(weights)[ends]
        reached = hits >= precision * np.maximum(matches, 1)
        recalls[draw] = hits[reached].max(initial=0) / max(1, int(drawn @ pairs_of_group))
    low, high = np.percentile(recalls, (2.5, 97.5))
    return float(low), float(high)


def uncertain(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pairs are uncertain, bool [m]: those with a score strictly within UNCERTAIN."""
    return np.asarray((scores > UNCERTAIN[0]) & (scores < UNCERTAIN[1]))


def equal_mass_bins(scores: NDArray[np.float32], bins: int = UNCERTAIN_BINS) -> list[NDArray[np.int64]]:
    """Positions of the scores in at most `bins` runs of nearly equal length, ascending by score.

    Equal scores stay in the same run, because their order means nothing.
    """
    order = np.argsort(scores, kind="stable")
    if not len(order):
        return []
    ascending = scores[order]
    cuts = np.arange(1, bins) * len(order) // bins
    starts = np.unique(np.searchsorted(ascending, ascending[cuts], side="left"))
    return [part for part in np.split(order, starts) if len(part)]


def uncertain_calibration_error(scores: NDArray[np.float32], true: NDArray[np.bool_]) -> float | None:
    """Expected calibration error over the uncertain pairs only, in UNCERTAIN_BINS bins of equal mass.

    Nearly all scored pairs are clearly different, which makes the error over all of them naturally small (Nixon et al.,
    *Measuring Calibration in Deep Learning*, 2019). With few pairs per bin it is biased upwards.

    Returns:
        None if no pair is uncertain.
    """
    hard = uncertain(scores)
    if not hard.any():
        return None
    gaps: NDArray[np.float64] = true[hard] - scores[hard].astype(np.float64)
    return float(sum(abs(gaps[part].sum()) for part in equal_mass_bins(scores[hard])) / len(gaps))


def short_curve(curve: PrecisionRecall, points: int = CURVE_POINTS) -> list[dict[str, float]]:
    """At most `points` of the curve, evenly spaced in recall, including the first and the last; recall ascending."""
    wanted = np.linspace(curve.recall[0], curve.recall[-1], points)
    kept = np.unique(np.searchsorted(curve.recall, wanted))
    return [
        {
            "threshold": float(curve.thresholds[at]),
            "precision": float(curve.precision[at]),
            "recall": float(curve.recall[at]),
        }
        for at in kept
    ]


def _confident_first(scores: NDArray[np.float32], true: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Positions by descending score, down to where fewer than half of all pairs above are true.

    Beyond that, where nearly all pairs are, no draw comes near a useful precision.
    """
    order = np.argsort(-scores, kind="stable")
    above = np.flatnonzero(2 * np.cumsum(true[order]) >= np.arange(1, len(order) + 1))
    if not len(above):
        return order[:0]
    return np.asarray(order[scores[order] >= scores[order[above[-1]]]])
