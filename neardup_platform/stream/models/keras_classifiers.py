"""Loads pair classifiers for the worker: the active one at the start, another one for `load-model`."""

from pathlib import Path
from typing import Protocol

from neardup_platform.learning.classifier.keras_active_classifier import load_active_classifier
from neardup_platform.matching import PairScorer
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.card import Card
from neardup_platform.scoring.keras_classifier import load_classifier
from neardup_platform.settings import Settings


class Classifier(PairScorer, Protocol):
    """A pair classifier with its card."""

    @property
    def card(self) -> Card:
        """What it was trained on, and how it measures."""

    @property
    def required_models(self) -> dict[Kind, ModelSpec]:
        """The models of the embeddings that it compares."""


class Classifiers(Protocol):
    """Where the worker gets its classifiers from."""

    def load_active(self, promoted: str) -> Classifier:
        """Load the classifier that decides.

        Args:
            promoted: the version that was promoted last; empty where none was.
        """

    def load(self, folder: Path) -> Classifier:
        """Load a classifier of this machine."""


class KerasClassifiers:
    """Classifiers with the threads of `scoring.threads`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def load_active(self, promoted: str) -> Classifier:
        """See `Classifiers`."""
        return load_active_classifier(self._settings, promoted)

    def load(self, folder: Path) -> Classifier:
        """See `Classifiers`."""
        return load_classifier(folder, self._settings.scoring.threads, self._settings.scoring.kinds)
