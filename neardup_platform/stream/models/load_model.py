"""`load-model`: replaces the active pair classifier without a stop.

The new one is downloaded, verified, judged, loaded and traced in the command's thread, while the stream uses the
present one. Classifier and thresholds are replaced together, between two steps. The store then names the version, so a
worker that starts later loads the same one.
"""

import logging
from collections.abc import Sequence
from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.learning.classifier.keras_active_classifier import classifier_folder
from neardup_platform.learning.classifier.promotion import (
    MetricComparison,
    card_metrics,
    check_as_good,
    check_fits,
    check_usable,
    compare,
)
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.scoring.card import Card, read_card
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.stream.models.keras_classifiers import Classifier, Classifiers
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import LoadModelArguments

log = logging.getLogger(__name__)


class LoadModel:
    """The handler; remembers the card of the active classifier.

    Args:
        active: the classifier that decides now.
        pipeline: the pipeline that uses it.
    """

    def __init__(
        self, settings: Settings, active: Classifier, pipeline: Pipeline, classifiers: Classifiers, clock: Clock, /
    ) -> None:
        self._settings = settings
        self._active = active.card
        self._pipeline, self._classifiers, self._clock = pipeline, classifiers, clock

    def __call__(self, command: pb.Command, arguments: LoadModelArguments) -> Finish:
        """Do everything that takes time or may fail; see `Handler`."""
        version, active = arguments.version, self._active
        if version == active.version:
            return partial(Done, {"version": version, "replaced": version})
        folder = classifier_folder(self._settings, version)
        card = read_card(folder)
        check_usable(card)
        check_fits(card, active)
        measures = compare(card_metrics(card), card_metrics(active))
        if not arguments.force:
            check_as_good(measures, card, active)
        return partial(self._finish, command, self._classifiers.load(folder), measures)

    def _finish(self, command: pb.Command, classifier: Classifier, measures: Sequence[MetricComparison]) -> Done:
        replaced = self._active.version
        forced = any(measure.worse for measure in measures)

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            state.classifier_version = classifier.version
            promotion = store_pb.Promotion(
                version=classifier.version,
                replaced=replaced,
                command_id=command.command_id,
                issued_by=command.issued_by,
                at_ms=self._clock.now_ms(),
                sequence=state.sequence,
                forced=forced,
            )
            batch.put(Table.PROMOTIONS, layout.number_key(state.commands), promotion.SerializeToString())

        values = {
            "version": classifier.version,
            "replaced": replaced,
            "threshold": f"{classifier.threshold:.6f}",
            "head_threshold": f"{classifier.head_threshold:.6f}",
            "forced": str(forced).lower(),
            **{measure.name: f"{measure.value:.4f}, in use {measure.active_value:.4f}" for measure in measures},
        }
        return Done(values, write, partial(self._use, classifier))

    def _use(self, classifier: Classifier) -> None:
        log.info("classifier %s in place of %s", classifier.version, self._active.version)
        self._active = classifier.card
        self._pipeline.use_classifier(classifier, Matching.of(self._settings, classifier))


def check_loadable(settings: Settings, active: Card, version: str) -> None:
    """Check that a version is on this machine, fetched if necessary, and fits the embeddings.

    Raises:
        NeardupError: it does not exist, cannot be fetched, or was trained on other embeddings.
    """
    check_fits(read_card(classifier_folder(settings, version)), active)
