"""Calibration of scores, thresholds, and the metrics that measure both.

Held-out logits and labels → **scale, threshold, metrics** → card of the classifier. Pure NumPy. The pairs are those
that occur in operation: the candidates of each image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Precision and recall if every pair at or above a score is a match, for each distinct score.

    Attributes:
        thresholds: float64 [m], descending.
        precision, recall: float64 [m], 0…1.
        matches: int64 [m], pairs at or above each threshold.
    """

    thresholds: Scores
    precision: Scores
    recall: Scores
    matches: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """The number of pairs with each distinct score.

    Attributes:
        scores: float64 [m], descending.
        true, other: int64 [m], pairs with exactly that score, by label.
    """

    scores: Scores
    true: NDArray[np.int64]
    other: NDArray[np.int64]

    def matches(self, threshold: float) -> tuple[int, int]:
        """Returns the true and the other pairs at or above a threshold."""
        above = self.scores >= threshold
        return int(self.true[above].sum()), int(self.other[above].sum())


def count_scores(scores: Scores, labels: Labels) -> ScoreCounts:
    """Counts pairs by distinct score."""
    negated, place = np.unique(-scores, return_inverse=True)
    true, other = (np.bincount(place[labels == label], minlength=len(negated)) for label in (True, False))
    return ScoreCounts(-negated, true, other)


def precision_recall(scores: Scores, labels: Labels, missed: int = 0) -> PrecisionRecall:
    """Counts matches at every distinct score; equal scores count together, as with a threshold.

    Args:
        scores: float64 [n].
        labels: bool [n].
        missed: true pairs without a score; they count against recall at every threshold.

    Raises:
        ValueError: no label is true.
    """
    return counted_precision_recall(count_scores(scores, labels), missed)


def counted_precision_recall(counts: ScoreCounts, missed: int = 0) -> PrecisionRecall:
    """The same as `precision_recall`, from counts by score.

    Raises:
        ValueError: no pair is true.
    """
    hits, matches = np.cumsum(counts.true), np.cumsum(counts.true + counts.other)
    if not counts.true.any():
        raise ValueError("no true pair among the labels: precision and recall are undefined")
    return PrecisionRecall(counts.scores, hits / matches, hits / (hits[-1] + missed), matches)


def best_f1(curve: PrecisionRecall) -> float:
    """Returns the largest harmonic mean of precision and recall."""
    sums = np.maximum(curve.precision + curve.recall, 1e-12)
    return float((2 * curve.precision * curve.recall / sums).max())


def recall_at_precision(curve: PrecisionRecall, precision: float) -> float:
    """Returns the largest recall at which precision is at least `precision`; 0 if it never is."""
    return float(curve.recall[curve.precision >= precision].max(initial=0.0))


def average_precision(curve: PrecisionRecall) -> float:
    """Returns the area under the precision-recall steps."""
    return float((np.diff(curve.recall, prepend=0.0) * curve.precision).sum())


def threshold_for_precision(curve: PrecisionRecall, precision: float) -> float:
    """Returns the lowest threshold that reaches the precision with confidence; the highest score if none does.

    Confidence means that the lower end of the 95% interval reaches `precision`, so few examples give a high threshold.
    """
    lower, _ = wilson_interval(curve.precision * curve.matches, curve.matches)
    reached = np.flatnonzero(lower >= precision)
    return float(curve.thresholds[reached[-1]] if len(reached) else curve.thresholds[0])


def wilson_interval(
    hits: NDArray[Any] | int, trials: NDArray[np.int64] | int, z: float = 1.96
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the confidence interval of ratios (Wilson, 1927); `z` 1.96 is 95%; 0…1 where there are no trials."""
    tried = np.maximum(trials, 1)
    share, spread = np.asarray(hits / tried, np.float64), z * z / tried
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / tried + spread / (4 * tried))
    known = np.asarray(trials) > 0
    return np.where(known, np.maximum(0.0, centre - half), 0.0), np.where(known, np.minimum(1.0, centre + half), 1.0)


def fit_platt(logits: Scores, labels: Labels, iterations: int = 50) -> tuple[float, float]:
    """Fits slope and offset so that sigmoid(slope · logit + offset) is the ratio of true pairs.

    Platt, *Probabilistic Outputs for Support Vector Machines* (1999), with his smoothed targets, by Newton's
    method. The slope is kept positive, so calibration never changes the order of pairs.

    Args:
        logits: float64 [n], of pairs the classifier was not trained on.
        labels: bool [n].

    Returns:
        Slope, above 0, and offset.
    """
    true = int(labels.sum())
    targets = np.where(labels, (true + 1) / (true + 2), 1 / (len(labels) - true + 2))
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    parameters = np.array([1.0, 0.0])
    for _ in range(iterations):
        probability = sigmoid(design @ parameters)
        gradient = design.T @ (probability - targets)
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # A full Newton step can overshoot where probabilities are saturated.
        parameters -= step * min(1.0, 1.0 / max(1e-12, float(np.abs(step).max())))
        if np.abs(step).max() < 1e-8:
            break
    return max(float(parameters[0]), 1e-3), float(parameters[1])


def expected_calibration_error(probabilities: Scores, labels: Labels, bins: int = 15) -> float:
    """Returns the mean |ratio of true pairs − mean probability| over bins of equal width, weighted by pairs.

    Guo et al., *On Calibration of Modern Neural Networks* (2017).
    """
    which = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(which, weights=labels - probabilities, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def sigmoid(logits: Scores) -> Scores:
    """Returns 1 / (1 + e^−x) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))
