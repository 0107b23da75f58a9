"""Pairs scored per second on a device, by batch: with all vectors in its memory, and as the worker does it.

A synthetic table → row numbers at random → **probabilities** in host memory. Before anything is timed, both are
compared with the network's probabilities from the features of the compiled loops.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.keras_resident import resident_scores
from neardup_platform.bench.synthetic import many_images
from neardup_platform.bench.timing import median_seconds
from neardup_platform.errors import InvariantBroken
from neardup_platform.scoring.card import Card
from neardup_platform.scoring.features import pair_features
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.tensorflow_network import TensorFlowNetwork
from neardup_platform.scoring.vectors import ImageVectors

Row = dict[str, Any]
Ordinals = NDArray[np.int64]
# Scores pairs by row numbers.
Scores = Callable[[Ordinals, Ordinals], NDArray[np.float32]]
# Makes it for a table.
Scorer = Callable[[ImageVectors], Scores]

# Images and candidates of each: one image, one with the original's limit of candidates, batches of the worker; on a GPU
# also batches that fill it.
BATCHES = ((1, 200), (1, 2_500), (64, 200), (256, 200))
GPU_BATCHES = ((1_024, 200), (5_120, 200))
_INPUTS = 8
_CHECKED = 4_096
_MOST_DIFFERENT = 1e-3
_CHUNK = 16_384
_SEED = 4


def resident(card: Card, network: Any) -> Scorer:
    """Features and network on the device, vectors in its memory."""

    def move(table: ImageVectors) -> Scores:
        model = resident_scores(network, table, card.blocks)

        def score(rows_a: Ordinals, rows_b: Ordinals) -> NDArray[np.float32]:
            rows = [rows.astype(np.int32) for rows in (rows_a, rows_b)]
            return np.asarray(model.predict_on_batch(rows), np.float32)[:, 0]

        return score

    return move


def features_on_cpu(card: Card, network: TensorFlowNetwork) -> Scorer:
    """Features on the CPU, and the network wherever TensorFlow runs it."""
    return lambda table: lambda rows_a, rows_b: network(pair_features(table, rows_a, table, rows_b, card.blocks))


def worker(classifier: PairClassifier) -> Scorer:
    """As the worker scores: features and network on the CPU."""
    return lambda table: lambda rows_a, rows_b: classifier.first_scores(table, rows_a, table, rows_b)


def bench_pairs(
    scorers: dict[str, Scorer], card: Card, network: Any, rows: int, on_gpu: bool, report: Callable[[str], None]
) -> list[Row]:
    """Returns a row of metrics for each scorer and batch.

    Args:
        scorers: by name.
        card: of the classifier.
        network: keras.Model from features to probabilities.
        rows: images in the table.
        on_gpu: whether Keras finds one.
        report: called with a line about the current step.

    Raises:
        InvariantBroken: probabilities differ by more than 0.001 from those of the compiled loops.
    """
    rng = np.random.default_rng(_SEED)
    report(f"vectors of {rows:,} images")
    table = _table(card, rows, rng)
    measured = []
    for name, make in scorers.items():
        score = make(table)
        different = _difference(score, table, card, network, rng)
        for images, candidates in BATCHES + (GPU_BATCHES if on_gpu else ()):
            inputs = [_pairs(len(table.lsh), images, candidates, rng) for _ in range(_INPUTS)]
            seconds = median_seconds(lambda number: score(*inputs[number % _INPUTS]))  # noqa: B023 -- called here
            row: Row = {
                "measured": "score",
                "device": "gpu" if on_gpu else "cpu",
                "scorer": name,
                "rows": rows,
                "images": images,
                "candidates": candidates,
                "max_difference": different,
                "ms": round(1e3 * seconds, 3),
                "pairs_per_s": round(images * candidates / seconds),
            }
            measured.append(row)
            report(f"{name}, {images} x {candidates}: {row['pairs_per_s']:,} pairs/s")
    return measured


def _table(card: Card, count: int, rng: np.random.Generator) -> ImageVectors:
    table = ImageVectors(*(np.empty((count, dim), np.float16) for dim in (card.lsh_dim, card.pair_dim)))
    for first in range(0, count, _CHUNK):
        part = slice(first, min(count, first + _CHUNK))
        table.lsh[part], table.pair[part] = many_images(rng, part.stop - part.start, card)
    return table


def _pairs(held: int, images: int, candidates: int, rng: np.random.Generator) -> tuple[Ordinals, Ordinals]:
    chosen = np.repeat(rng.integers(0, held, images), candidates)
    return chosen, rng.integers(0, held, images * candidates)


def _difference(score: Scores, table: ImageVectors, card: Card, network: Any, rng: np.random.Generator) -> float:
    """The largest difference from the compiled loops, of neighbours in the table and of pairs at random."""
    rows_a, rows_b = _pairs(len(table.lsh), _CHECKED, 1, rng)
    rows_b[::2] = np.minimum(rows_a[::2] + 1, len(table.lsh) - 1)
    expected = network.predict_on_batch(pair_features(table, rows_a, table, rows_b, card.blocks))[:, 0]
    different = float(np.abs(score(rows_a, rows_b) - expected).max())
    if not different <= _MOST_DIFFERENT:
        raise InvariantBroken(
            f"probabilities on the device differ by {different:.2g} from those on the CPU, at most {_MOST_DIFFERENT:g} "
            "is rounding: its speed means nothing"
        )
    return float(f"{different:.1e}")
