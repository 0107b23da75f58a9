"""Evaluation of a classifier on the pictures that training held out, alone and against another classifier.

Training data and classifier → **metrics of its scores on the held-out pairs**, and **the pipeline over the held-out
pictures** → Dagster's evaluation and the check before a promotion.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.evaluation.embedded_rows import EmbeddedRows
from neardup_platform.evaluation.evaluation import trained_on
from neardup_platform.evaluation.manifest import Row
from neardup_platform.evaluation.measures import TARGET_PRECISION
from neardup_platform.evaluation.outcome import Evaluation
from neardup_platform.evaluation.pipeline_run import empty_pipeline, run_pipeline
from neardup_platform.learning.classifier.promotion import ClassifierMetrics
from neardup_platform.learning.classifier.training_data import TrainingData
from neardup_platform.learning.classifier.training_pictures import read_training_pictures
from neardup_platform.records import Embedding, JoinedImage, Kind
from neardup_platform.scoring.calibration import (
    average_precision,
    best_f1,
    expected_calibration_error,
    precision_recall,
    recall_at_precision,
)
from neardup_platform.scoring.keras_classifier import PairClassifier, load_classifier
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import Settings
from neardup_platform.terms.hyperplanes import load_term_space


def score_held_out(classifier: PairClassifier, data: TrainingData) -> NDArray[np.float32]:
    """Scores of the held-out pairs, float32 [n], in their order.

    Raises:
        BadArtefact: the classifier fits other embeddings.
    """
    pictures, pairs = data.held_out.pictures, data.held_out_pairs
    vectors = ImageVectors(pictures.lsh, pictures.pair)
    return classifier.score(vectors, pairs.a, vectors, pairs.b)


def measure_held_out(classifier: PairClassifier, data: TrainingData) -> tuple[ClassifierMetrics, dict[str, float]]:
    """The metrics of a classifier on the held-out pairs: those for the comparison, and additional ones for information.

    Raises:
        BadArtefact: the classifier fits other embeddings.
    """
    scores, same = score_held_out(classifier, data).astype(np.float64), data.held_out_pairs.same
    curve, true_pairs = precision_recall(scores, same), int(same.sum())
    matches = scores >= classifier.threshold
    hits, count = int((matches & same).sum()), int(matches.sum())
    measured = ClassifierMetrics(
        {
            # Without a match none is wrong; the recall shows it.
            "precision_at_threshold": (hits / count if count else 1.0, max(1, count)),
            "recall_at_threshold": (hits / true_pairs, true_pairs),
            "recall_at_p99": (recall_at_precision(curve, TARGET_PRECISION), true_pairs),
        },
        expected_calibration_error(scores, same),
    )
    return measured, {"average_precision": average_precision(curve), "best_f1": best_f1(curve)}


def evaluate_held_out(folder: Path, data: TrainingData, settings: Settings) -> Evaluation:
    """Run the whole pipeline over the held-out pictures with the classifier of a folder; nothing is embedded again.

    Raises:
        BadArtefact: the classifier is damaged.
    """
    scorer = load_classifier(folder)
    embedded = _embedded(data)
    pipeline = empty_pipeline(load_term_space(settings.terms.space), scorer, settings)
    run = run_pipeline(embedded, range(len(embedded.rows)), pipeline)
    seen = read_training_pictures(scorer.card, folder)
    return Evaluation(embedded, [run], None if seen is None else trained_on(embedded.fingerprints, seen))


def _embedded(data: TrainingData) -> EmbeddedRows:
    pictures, recipe = data.held_out.pictures, data.recipe
    rows = [Row(Path(name), group) for name, group in zip(pictures.ids, pictures.groups, strict=True)]
    images = {
        number: JoinedImage(
            Embedding(str(number), Kind.LSH, recipe.lsh_version, pictures.lsh[number].astype(np.float32), 0),
            Embedding(str(number), Kind.PAIR, recipe.pair_version, pictures.pair[number].astype(np.float32), 0),
        )
        for number in range(len(rows))
    }
    return EmbeddedRows(rows, images, {}, data.held_out.fingerprints, 0.0)
