"""The breakdown of the time of pair scoring: fetching rows from memory, computing features, the network."""

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.features import pair_features
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.vectors import ImageVectors, VectorRows

# Few enough rows to stay in the first-level cache while they are compared repeatedly.
_CACHED_ROWS = 16
_REPEATS = 9


def shares(
    classifier: PairClassifier,
    images: ImageVectors,
    rows: NDArray[np.int64],
    table: VectorRows,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Shares of one thread's time; they sum to 1.

    Fetching and computing are a single loop; fetching is the additional time for random rows compared with a few cached
    rows.

    Args:
        classifier: that scores.
        images: of a batch.
        rows: int64 [n], as many as one part has.
        table: from which candidates are taken at random.
        rng: takes them.
    """
    blocks = classifier.card.blocks
    features = pair_features(images, rows, table, rng.integers(0, len(table.lsh), len(rows)), blocks)
    seconds = np.zeros((_REPEATS, 3))
    for repeat in range(_REPEATS):
        far = rng.integers(0, len(table.lsh), len(rows))
        marks = [perf_counter()]
        pair_features(images, rows, table, far, blocks)
        marks.append(perf_counter())
        pair_features(images, rows, table, far % _CACHED_ROWS, blocks)
        marks.append(perf_counter())
        classifier.network(features)
        marks.append(perf_counter())
        seconds[repeat] = np.diff(marks)
    at_random, cached, network = np.median(seconds, axis=0)
    parts = {"gather_share": max(0.0, at_random - cached), "features_share": cached, "network_share": network}
    return {name: round(float(part / sum(parts.values())), 3) for name, part in parts.items()}
