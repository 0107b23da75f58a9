"""Which classifier is in force: the one promoted last, which the store names, or the one that the settings name.

Store and settings → **folder on this machine** → classifier. The worker and the API ask here alike.
"""

from contextlib import suppress
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.scoring.keras_classifier import PairClassifier, load_classifier
from neardup_platform.settings import Settings


def classifier_folder(settings: Settings, version: str) -> Path:
    """Where a version lies on this machine: of the settings, shipped, or from the registry.

    Raises:
        BadArtefact, NotFound, SetupError, ServerUnavailable: it lies nowhere, or cannot be fetched.
    """
    for folder in (settings.scoring.model, SHIPPED_FOLDER):
        with suppress(BadArtefact):
            if folder is not None and read_card(folder).version == version:
                return folder
    # boto3 takes a third of a second to import, and most starts do without.
    from neardup_platform.learning.classifier.s3_registry import fetch

    return fetch(settings.s3, version, settings.home)


def folder_in_force(settings: Settings, promoted: str) -> Path:
    """Where the classifier that decides lies on this machine.

    Args:
        settings: resolved.
        promoted: version of the last promotion; empty where there was none.

    Raises:
        BadArtefact, NotFound, SetupError, ServerUnavailable: it lies nowhere, or cannot be fetched.
    """
    return classifier_folder(settings, promoted) if promoted else settings.scoring.model or SHIPPED_FOLDER


def load_in_force(settings: Settings, promoted: str) -> PairClassifier:
    """The classifier that decides; as `folder_in_force`."""
    return load_classifier(folder_in_force(settings, promoted), settings.scoring.threads)
