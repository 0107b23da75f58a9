"""The measures of clustering and of pair scores. Pure."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.calibration import (
    average_precision,
    best_f1,
    expected_calibration_error,
    precision_recall,
    recall_at_precision,
)

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
    curve, share = precision_recall(scores.astype(np.float64), true), found / (found + missed)
    reachable = replace(curve, recall=curve.recall * share)
    return {
        "pair_best_f1": best_f1(reachable),
        "pair_recall_at_p99": recall_at_precision(reachable, TARGET_PRECISION),
        "pair_average_precision": average_precision(reachable),
        "calibration_error": expected_calibration_error(scores.astype(np.float64), true, CALIBRATION_BINS),
    }
