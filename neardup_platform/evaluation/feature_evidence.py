"""Which features indicate that two pictures are near-duplicates, and which that they are not.

Scored pairs → **evidence by feature** → report. It describes the data, not the network: for each feature, how much more
common its value is among true pairs than among other candidates, as the logarithm of the ratio of two normal densities
(naive Bayes). So it shows what a pair looks like to any classifier.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.evaluation.outcome import Evaluation, outcome
from neardup_platform.evaluation.worst_pairs import EvaluatedPair
from neardup_platform.scoring.features import Block, feature_names, pair_features
from neardup_platform.scoring.vectors import ImageVectors

SAMPLE_PAIRS = 10_000
_NAMED = 3
_LEAST_DEVIATION = 1e-4
_MOST_EVIDENCE = 9.9

Compare = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One feature of one pair.

    Attributes:
        name: of the feature.
        value: for this pair.
        weight: log of how much more likely the value is for a true pair; a negative weight is evidence against.
    """

    name: str
    value: float
    weight: float


def evidence_of(
    evaluation: Evaluation, pairs: Sequence[EvaluatedPair], blocks: Sequence[Block], seed: int = 0
) -> list[tuple[Evidence, ...]]:
    """The strongest features of each pair: at most three in favour, then at most three against.

    Args:
        evaluation: its scored pairs define what is common, at most SAMPLE_PAIRS of either truth.
        pairs: of its rows.
        blocks: of the `pair` embedder.
        seed: of the sample.
    """
    whole, compare, rng = outcome(evaluation), _comparison(evaluation, blocks), np.random.default_rng(seed)
    if not pairs or not whole.true.any() or whole.true.all():
        return [() for _ in pairs]
    moments = []
    for truth in (True, False):
        some = rng.permutation(np.flatnonzero(whole.true == truth))[:SAMPLE_PAIRS]
        values = compare(whole.numbers[whole.later[some]], whole.numbers[whole.earlier[some]])
        moments.append((values.mean(axis=0), np.maximum(values.std(axis=0), _LEAST_DEVIATION)))
    values = compare(np.array([p.later for p in pairs]), np.array([p.earlier for p in pairs]))
    density = [-0.5 * ((values - mean) / deviation) ** 2 - np.log(deviation) for mean, deviation in moments]
    weights = np.clip(density[0] - density[1], -_MOST_EVIDENCE, _MOST_EVIDENCE)
    return [_strongest(feature_names(blocks), *row) for row in zip(values, weights, strict=True)]


def _strongest(names: Sequence[str], values: NDArray[np.float32], weights: NDArray[np.float32]) -> tuple[Evidence, ...]:
    # A gap only repeats its similarity.
    every = [
        Evidence(name, float(value), float(weight))
        for name, value, weight in zip(names, values, weights, strict=True)
        if not name.endswith("_gap")
    ]
    in_favour = sorted((e for e in every if e.weight > 0), key=lambda e: -e.weight)[:_NAMED]
    against = sorted((e for e in every if e.weight < 0), key=lambda e: e.weight)[:_NAMED]
    return (*in_favour, *against)


def _comparison(evaluation: Evaluation, blocks: Sequence[Block]) -> Compare:
    numbers = sorted(evaluation.embedded.images)
    pictures = evaluation.embedded.vectors(numbers)
    vectors = ImageVectors(pictures.lsh, pictures.pair)
    at = np.full(len(evaluation.rows), -1, np.int64)
    at[numbers] = np.arange(len(numbers))

    def compare(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
        return pair_features(vectors, at[a], vectors, at[b], blocks)

    return compare
