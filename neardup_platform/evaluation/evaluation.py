"""Evaluation of an existing classifier: the whole pipeline over labelled pictures, as the stream would decide them.

Manifest → vectors → **one run** → metrics. `cross_validation` evaluates a way of training instead.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from neardup_platform.evaluation.embedded_rows import embed_rows
from neardup_platform.evaluation.manifest import Row
from neardup_platform.evaluation.outcome import Evaluation
from neardup_platform.evaluation.pipeline_run import empty_pipeline, run_pipeline
from neardup_platform.images.active_embedders import load_embedders, model_specs
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.classifier.training_pictures import Fingerprints, read_training_pictures
from neardup_platform.scoring.card import SHIPPED_FOLDER
from neardup_platform.scoring.keras_classifier import load_classifier
from neardup_platform.settings import Settings
from neardup_platform.terms.hyperplanes import load_term_space


def evaluate(
    rows: Sequence[Row],
    settings: Settings,
    progress: Callable[[int], None],
    *,
    classifier: Path | None = None,
    embedders: Sequence[Embedder] | None = None,
) -> Evaluation:
    """Run the pipeline of the settings over the rows, in their order.

    Args:
        rows: pictures and their true groups.
        settings: which embedders, term space, classifier, thresholds and caps.
        progress: called with the number of pictures processed since the last call.
        classifier: folder of another classifier than the settings name.
        embedders: one of each kind, if they are already loaded.

    Raises:
        SetupError: no picture can be read.
        BadArtefact: a model is damaged, or does not fit the embedders.
    """
    folder = classifier or settings.scoring.model
    space, scorer = load_term_space(settings.terms.space), load_classifier(folder, clustering=settings.scoring.kinds)
    loaded = embedders or load_embedders(settings.images)
    scorer.card.check_embedders(model_specs(loaded))
    seen = read_training_pictures(scorer.card, folder or SHIPPED_FOLDER)
    embedded = embed_rows(rows, loaded, settings.images, progress)
    run = run_pipeline(embedded, range(len(rows)), empty_pipeline(space, scorer, settings))
    return Evaluation(embedded, [run], None if seen is None else trained_on(embedded.fingerprints, seen))


def trained_on(evaluated: Fingerprints, seen: Fingerprints) -> int:
    """The number of evaluated pictures that were used in training; both arguments uint64."""
    return int(np.isin(evaluated, seen).sum())
