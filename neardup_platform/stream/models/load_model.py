"""`load-model`: another pair classifier, without a stop.

Downloaded, verified, judged, loaded and traced in the command's thread while the stream goes on with the one before;
exchanged between two steps, thresholds with it. The store then names the version, so a worker that starts later loads
the same.

| argument | |
|---|---|
| `version` | 12 hex digits: of the registry, shipped, or of the settings |
| `force` | `true`: although its figures are worse than those of the classifier in use |
"""

import time
from collections.abc import Callable
from functools import partial

from neardup_platform.learning.classifier.keras_active_classifier import classifier_folder
from neardup_platform.learning.classifier.promotion import (
    MetricComparison,
    card_metrics,
    check_as_good,
    check_fits,
    check_usable,
    compare,
)
from neardup_platform.scoring.card import Card, read_card
from neardup_platform.scoring.keras_classifier import PairClassifier, load_classifier
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.command import Finish, Outcome, check_arguments, flag
from neardup_platform.wire import neardup_pb2 as pb

NAME = "load-model"


class LoadModel:
    """The handler; remembers which classifier is in force.

    Args:
        settings: resolved.
        in_force: the classifier that decides now.
        swap: exchanges it in the pipeline.
    """

    def __init__(self, settings: Settings, in_force: PairClassifier, swap: Callable[[PairClassifier], None]) -> None:
        self._settings = settings
        self._swap = swap
        self.in_force = in_force

    def __call__(self, command: pb.Command) -> Finish:
        """The first half: everything that takes time or may be refused.

        Raises:
            NeardupError: it is refused; the text says why.
        """
        arguments = check_arguments(command, {"version"}, {"force"})
        version, force = arguments["version"], flag(arguments, "force")
        in_use = self.in_force.card
        if version == in_use.version:
            return partial(Outcome, {"version": version, "replaced": version})
        folder = classifier_folder(self._settings, version)
        card = read_card(folder)
        check_usable(card)
        check_fits(card, in_use)
        figures = compare(card_metrics(card), card_metrics(in_use))
        if not force:
            check_as_good(figures, card, in_use)
        return partial(self._finish, command, load_classifier(folder, self._settings.scoring.threads), figures)

    def _finish(self, command: pb.Command, classifier: PairClassifier, figures: list[MetricComparison]) -> Outcome:
        replaced = self.in_force.version
        forced = any(figure.worse for figure in figures)

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            state.classifier_version = classifier.version
            promotion = store_pb.Promotion(
                version=classifier.version,
                replaced=replaced,
                command_id=command.command_id,
                issued_by=command.issued_by,
                at_ms=time.time_ns() // 1_000_000,
                sequence=state.sequence,
                forced=forced,
            )
            batch.put(Table.PROMOTIONS, layout.number_key(state.commands), promotion.SerializeToString())

        def apply() -> None:
            self.in_force = classifier
            self._swap(classifier)

        values = {
            "version": classifier.version,
            "replaced": replaced,
            "threshold": f"{classifier.threshold:.6f}",
            "head_threshold": f"{classifier.head_threshold:.6f}",
            "forced": str(forced).lower(),
            **{figure.name: f"{figure.value:.4f}, in use {figure.active_value:.4f}" for figure in figures},
        }
        return Outcome(values, write=write, apply=apply)


def check_loadable(settings: Settings, in_use: Card, version: str) -> None:
    """See that a version lies on this machine, fetched if need be, and fits the embeddings.

    Raises:
        NeardupError: it lies nowhere, cannot be fetched, or was trained on other embeddings.
    """
    check_fits(read_card(classifier_folder(settings, version)), in_use)
