"""The measures of clustering and of pair scores. Pure."""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

TARGET_PRECISION = 0.99
CALIBRATION_BINS = 15


def pairs_within(labels: Sequence[Hashable]) -> int:
    """Number of unordered pairs with equal labels."""
    return sum(n * (n - 1) // 2 for n in Counter(labels).values())


def pair_measures(clusters: Sequence[str], groups: Sequence[str]) -> dict[str, float]:
    """Precision, recall and F1 over pairs put into the same cluster.

    Args:
        clusters: cluster of each image.
        groups: true group of each image; every distractor has one of its own.

    Returns:
        `precision` is 1 where no pair was put together, `recall` 1 where there was none to find.
    """
    together = pairs_within(clusters)
    true = pairs_within(groups)
    right = pairs_within(list(zip(clusters, groups, strict=True)))
    precision = right / together if together else 1.0
    recall = right / true if true else 1.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def bcubed_measures(clusters: Sequence[str], groups: Sequence[str]) -> dict[str, float]:
    """B-cubed precision and recall (Bagga and Baldwin 1998): averaged over images, not pairs."""
    of_cluster, of_group = Counter(clusters), Counter(groups)
    of_both = Counter(zip(clusters, groups, strict=True))
    n = len(clusters)
    return {
        "bcubed_precision": sum(m * m / of_cluster[c] for (c, _), m in of_both.items()) / n,
        "bcubed_recall": sum(m * m / of_group[g] for (_, g), m in of_both.items()) / n,
    }


def score_measures(scores: NDArray[np.float32], true: NDArray[np.bool_], missed: int) -> dict[str, float | None]:
    """How well pair scores tell true pairs from others.

    Args:
        scores: float32 [n], calibrated probabilities of the pairs that were scored.
        true: bool [n].
        missed: true pairs that were never scored; they count against recall at every threshold.

    Returns:
        `pair_best_f1`, `pair_recall_at_p99`, `pair_average_precision`, and `calibration_error`, the expected
        calibration error over 15 bins of equal width (Naeini et al. 2015). None where no true pair was scored.
    """
    found = int(true.sum())
    if not found:
        names = ("pair_best_f1", "pair_recall_at_p99", "pair_average_precision", "calibration_error")
        return dict.fromkeys(names)
    precision, recall, _ = precision_recall_curve(true, scores)
    recall = recall * found / (found + missed)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return {
        "pair_best_f1": float(f1.max()),
        "pair_recall_at_p99": float(recall[precision >= TARGET_PRECISION].max()),
        "pair_average_precision": float(average_precision_score(true, scores) * found / (found + missed)),
        "calibration_error": calibration_error(scores, true),
    }


def calibration_error(scores: NDArray[np.float32], true: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean gap between score and share of true pairs, over equal-width bins."""
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    score_sum = np.bincount(bins, scores, CALIBRATION_BINS)
    true_sum = np.bincount(bins, true, CALIBRATION_BINS)
    return float(np.abs(score_sum - true_sum).sum() / count.sum())
