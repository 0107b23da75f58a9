"""Trains the pair classifier for the active embedders, from CSV files of pictures.

CSV files → vectors → training → **folder of the classifier**, with a record of the training pictures beside it. The
shipped classifier was trained like this on the pictures listed in docs/accuracy.md.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from neardup_platform.images.active_embedders import load_embedders, model_specs
from neardup_platform.learning.classifier.adaptation import Adaptation, adapt
from neardup_platform.learning.classifier.labelled_vectors import KindLabelling
from neardup_platform.learning.classifier.training import Recipe, train
from neardup_platform.learning.classifier.training_pictures import record_training_pictures
from neardup_platform.learning.classifier.training_set import (
    TrainingSet,
    embed_copies,
    embed_labelled,
    join,
    recipe_for,
)
from neardup_platform.learning.embedder.labelled_pictures import read_manifest
from neardup_platform.scoring.card import Card, read_card
from neardup_platform.settings import ImageSettings


def train_on_pictures(
    labelled: Path,
    diverse: Path | None,
    out: Path,
    settings: ImageSettings,
    *,
    also: Sequence[Path] = (),
    kinds: Sequence[Path] = (),
) -> Card:
    """Embed the pictures of CSV files, train on them and write the classifier.

    Args:
        labelled: CSV with the columns `file` (relative to it) and `group`.
        diverse: CSV with the column `file`, pictures no two of which are alike; None: no altered copies.
        out: folder of the classifier.
        settings: which embedders, and limits of decoding.
        also: more CSV files like `labelled`; a group that occurs in two files is one group.
        kinds: CSV files like `labelled`, of pictures that teach match kinds only.

    Raises:
        SetupError: a CSV is unusable, or has too few groups.
        BadPicture: a picture is refused.
        BadArtefact: a picture has different groups in two files.
    """
    embedders = load_embedders(settings)
    altered = None if diverse is None else embed_copies(diverse, embedders, settings)
    pictures = join(embed_labelled([labelled, *also], embedders, settings))
    more = join(embed_labelled(kinds, embedders, settings)) if kinds else None
    return train_on_sets(pictures, altered, out, recipe_for(embedders), more)


def adapt_to_pictures(manifest: Path, base: Path, out: Path, settings: ImageSettings) -> Adaptation:
    """Embed the pictures of a CSV file, adapt a classifier to them, and write the new version.

    Args:
        manifest: CSV with the column `file` (relative to it), and `group` if the pictures are labelled.
        base: folder of the classifier to begin with.
        out: folder of the new one.
        settings: which embedders, and limits of decoding.

    Raises:
        SetupError: the CSV is unusable.
        BadPicture: a picture is refused.
        BadArtefact: the classifier is of other embedders, or cannot be adapted.
    """
    embedders = load_embedders(settings)
    read_card(base).check_embedders(model_specs(embedders))
    labelled = "group" in read_manifest(manifest, ("file",))[0]
    pictures = join(embed_labelled([manifest], embedders, settings, labelled=labelled))
    return adapt(base, pictures, out, labelled=labelled)


def train_on_sets(
    pictures: TrainingSet, altered: TrainingSet | None, out: Path, recipe: Recipe, kinds: TrainingSet | None = None
) -> Card:
    """Train, and record the training pictures beside the classifier.

    Args:
        pictures: labelled.
        altered: pictures with altered copies of them.
        out: folder of the classifier.
        recipe: of training.
        kinds: pictures that teach match kinds only.

    Raises:
        SetupError: there are too few groups.
    """
    labels = KindLabelling(pictures.pictures.labels, None if kinds is None else kinds.pictures)
    card = train(pictures.pictures, out, recipe, altered=None if altered is None else altered.pictures, kinds=labels)
    seen = [each.fingerprints for each in (pictures, altered, kinds) if each is not None]
    return record_training_pictures(card, out, np.concatenate(seen))
