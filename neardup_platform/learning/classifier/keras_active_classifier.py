"""The active classifier: the one promoted last, which the store names, or the one that the settings name.

Store and settings → **folder on this machine** → classifier. The worker and the API use the same functions.
"""

from contextlib import suppress
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.scoring.keras_classifier import PairClassifier, load_classifier
from neardup_platform.settings import Settings


def classifier_folder(settings: Settings, version: str) -> Path:
    """The folder of a version on this machine: from the settings, shipped, or from the registry.

    Raises:
        BadArtefact, NotFound, SetupError, ServerUnavailable: the version does not exist or cannot be fetched.
    """
    for folder in (settings.scoring.model, SHIPPED_FOLDER):
        with suppress(BadArtefact):
            if folder is not None and read_card(folder).version == version:
                return folder
    # boto3 takes a third of a second to import, and most starts do without it.
    from neardup_platform.learning.classifier.s3_registry import fetch

    return fetch(settings.s3, version, settings.home)


def active_folder(settings: Settings, promoted: str) -> Path:
    """The folder of the active classifier on this machine.

    Args:
        settings: resolved.
        promoted: version of the last promotion; empty if there was none.

    Raises:
        BadArtefact, NotFound, SetupError, ServerUnavailable: the version does not exist or cannot be fetched.
    """
    return classifier_folder(settings, promoted) if promoted else settings.scoring.model or SHIPPED_FOLDER


def load_active_classifier(settings: Settings, promoted: str) -> PairClassifier:
    """Load the active classifier; arguments and errors as for `active_folder`."""
    return load_classifier(active_folder(settings, promoted), settings.scoring.threads, settings.scoring.kinds)
