"""Metrics of clustering and of pair scores. Pure.

Clusters, groups and scored pairs of an evaluation → **metrics**.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.calibration import (
    PrecisionRecall,
    average_precision,
    best_f1,
    expected_calibration_error,
    precision_recall,
    recall_at_precision,
)

TARGET_PRECISION = 0.99
CALIBRATION_BINS = 15
# Two groups in a cluster may be one group that nobody noticed; three mean that the cluster is wrong.
MIXED_GROUPS = 3


def pairs_within(labels: Sequence[Hashable]) -> int:
    """The number of unordered pairs with equal labels."""
    return sum(n * (n - 1) // 2 for n in Counter(labels).values())


def pairs_touching(labels: Sequence[Hashable], marks: Sequence[str]) -> Counter[str]:
    """For each mark, the unordered pairs with equal labels of which at least one image has the mark.

    Args:
        labels: of each image.
        marks: of each image, one; a pair with two marks counts for both.
    """
    sizes, touching = Counter(labels), Counter[str]()
    for (label, mark), inside in Counter(zip(labels, marks, strict=True)).items():
        size, outside = sizes[label], sizes[label] - inside
        touching[mark] += size * (size - 1) // 2 - outside * (outside - 1) // 2
    return touching


def marked_measures(
    clusters: Sequence[int], groups: Sequence[int], marks: Sequence[str]
) -> dict[str, dict[str, int | float | None]]:
    """Metrics of the pairs that touch each mark: where recall is lost, and what is wrongly joined.

    Args:
        clusters, groups: of each image; every distractor has its own group.
        marks: of each image, a subset or a transformation.

    Returns:
        By mark, ascending: `images`, `pairs_true`, `precision`, `recall`, `f1`. Precision is None if no pair was
        joined, recall and F1 if there was none to find.
    """
    true, together = pairs_touching(groups, marks), pairs_touching(clusters, marks)
    right = pairs_touching(list(zip(clusters, groups, strict=True)), marks)
    return {
        mark: {
            "images": images,
            "pairs_true": true[mark],
            "precision": right[mark] / together[mark] if together[mark] else None,
            "recall": right[mark] / true[mark] if true[mark] else None,
            # 2PR / (P + R), expressed in counts.
            "f1": 2 * right[mark] / (together[mark] + true[mark]) if true[mark] else None,
        }
        for mark, images in sorted(Counter(marks).items())
    }


def cluster_measures(clusters: Sequence[int], groups: Sequence[int]) -> dict[str, Any]:
    """The sizes of clusters, and how many of them contain several groups.

    Args:
        clusters, groups: of each image; every distractor has its own group.

    Returns:
        `clusters`; `largest_cluster`; `cluster_sizes`, the number of clusters by size; `mixed_clusters`, those with
        MIXED_GROUPS or more true groups; `most_groups_in_a_cluster`.
    """
    sizes = Counter(clusters)
    held = Counter(cluster for cluster, _ in set(zip(clusters, groups, strict=True)))
    return {
        "clusters": len(sizes),
        "largest_cluster": max(sizes.values(), default=0),
        "cluster_sizes": {str(size): count for size, count in sorted(Counter(sizes.values()).items())},
        "mixed_clusters": sum(count >= MIXED_GROUPS for count in held.values()),
        "most_groups_in_a_cluster": max(held.values(), default=0),
    }


def pair_measures(clusters: Sequence[Hashable], groups: Sequence[Hashable]) -> dict[str, float]:
    """Precision, recall and F1 over pairs in the same cluster.

    Args:
        clusters: cluster of each image.
        groups: true group of each image; every distractor has its own.

    Returns:
        `precision` is 1 if no pair was joined, `recall` is 1 if there was none to find.
    """
    together = pairs_within(clusters)
    true = pairs_within(groups)
    right = pairs_within(list(zip(clusters, groups, strict=True)))
    precision = right / together if together else 1.0
    recall = right / true if true else 1.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def bcubed_measures(clusters: Sequence[Hashable], groups: Sequence[Hashable]) -> dict[str, float]:
    """B-cubed precision and recall (Bagga and Baldwin 1998): averaged over images, not pairs."""
    of_cluster, of_group = Counter(clusters), Counter(groups)
    of_both = Counter(zip(clusters, groups, strict=True))
    n = len(clusters)
    return {
        "bcubed_precision": sum(m * m / of_cluster[c] for (c, _), m in of_both.items()) / n,
        "bcubed_recall": sum(m * m / of_group[g] for (_, g), m in of_both.items()) / n,
    }


def pair_curve(scores: NDArray[np.float32], true: NDArray[np.bool_], missed: int) -> PrecisionRecall | None:
    """Precision and recall at every distinct score; None if no true pair was scored.

    Args:
        scores, true: of the scored pairs.
        missed: true pairs that were never scored; they count against recall at every threshold.
    """
    return precision_recall(scores.astype(np.float64), true, missed) if true.any() else None


def score_measures(scores: NDArray[np.float32], true: NDArray[np.bool_], missed: int) -> dict[str, float | None]:
    """How well pair scores distinguish true pairs from others.

    Args:
        scores: float32 [n], calibrated probabilities of the scored pairs.
        true: bool [n].
        missed: true pairs that were never scored; they count against recall at every threshold.

    Returns:
        `pair_best_f1`, `pair_recall_at_p99`, `pair_average_precision`, and `calibration_error`, the expected
        calibration error over 15 bins of equal width (Naeini et al. 2015). None if no true pair was scored.
    """
    reachable = pair_curve(scores, true, missed)
    if reachable is None:
        names = ("pair_best_f1", "pair_recall_at_p99", "pair_average_precision", "calibration_error")
        return dict.fromkeys(names)
    return {
        "pair_best_f1": best_f1(reachable),
        "pair_recall_at_p99": recall_at_precision(reachable, TARGET_PRECISION),
        "pair_average_precision": average_precision(reachable),
        "calibration_error": expected_calibration_error(scores.astype(np.float64), true, CALIBRATION_BINS),
    }
