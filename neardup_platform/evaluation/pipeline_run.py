"""The pipeline of the stream over embedded rows, in their order: the evaluation sees what the stream would decide.

Vectors of rows → the pipeline, starting with an empty corpus → **heads and scored pairs by row** → metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from neardup_platform.corpus import Corpus
from neardup_platform.evaluation.embedded_rows import EmbeddedRows
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Kind
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.scoring.vectors import MemoryVectors
from neardup_platform.settings import Settings
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.opening import open_index

_IMAGES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Run:
    """The result of the pipeline for some rows; every number is a row number of the manifest.

    Attributes:
        part: the rows to decide, int64, ascending, including unreadable ones.
        decided: int64 [n], the decided ones, in order.
        heads: int64 [n], the heads they joined.
        later, earlier: int64 [m], scored pairs: an image and one of its candidates.
        scores: float32 [m].
        kinds: uint8 [m], positions in `KIND_NAMES`.
        classifier: version of the classifier.
        matching: the thresholds and caps used.
        seconds: time spent deciding.
    """

    part: NDArray[np.int64]
    decided: NDArray[np.int64]
    heads: NDArray[np.int64]
    later: NDArray[np.int64]
    earlier: NDArray[np.int64]
    scores: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    classifier: str
    matching: Matching
    seconds: float


def empty_pipeline(space: TermSpace, scorer: PairClassifier, settings: Settings) -> Pipeline:
    """A pipeline with these settings, in memory, without any image."""
    pair = scorer.required_models[Kind.PAIR]
    vectors = MemoryVectors(space.dim, pair.dim, compared=pair.first_score_entries)
    corpus = Corpus(space, open_index(None, space, settings.terms), vectors)
    return Pipeline(space, scorer, corpus, Matching.of(settings, scorer))


def run_pipeline(embedded: EmbeddedRows, part: Sequence[int], pipeline: Pipeline) -> Run:
    """Decide rows in ascending order.

    Args:
        embedded: of the manifest.
        part: numbers of the rows to decide.
        pipeline: without any image.
    """
    started = perf_counter()
    numbers = [number for number in sorted(part) if number in embedded.images]
    decided = np.array(numbers, np.int64)
    heads, pairs, scores, kinds = [], [], [], []
    for first in range(0, len(numbers), _IMAGES_AT_ONCE):
        images = [embedded.images[number] for number in numbers[first : first + _IMAGES_AT_ONCE]]
        for batch in pipeline.decide(images, first + 1, 0):
            heads += [int(decision.head) for decision in batch.decisions]
            found = batch.scored.ordinals
            rows, columns = np.nonzero(found >= 0)
            # Ordinals count the decided images, so they number the readable rows.
            pairs.append(np.stack([decided[batch.ordinals[rows]], decided[found[rows, columns]]]))
            scores.append(batch.scored.scores[rows, columns])
            kinds.append(batch.scored.kinds[rows, columns])
    later, earlier = np.concatenate([np.zeros((2, 0), np.int64), *pairs], axis=1)
    return Run(
        part=np.array(sorted(part), np.int64),
        decided=decided,
        heads=np.array(heads, np.int64),
        later=later,
        earlier=earlier,
        scores=np.concatenate([np.zeros(0, np.float32), *scores]),
        kinds=np.concatenate([np.zeros(0, np.uint8), *kinds]),
        classifier=pipeline.scorer.version,
        matching=pipeline.matching,
        seconds=perf_counter() - started,
    )
