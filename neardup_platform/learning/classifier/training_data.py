"""Pictures split into a training part and a held-out part, and the pairs mined from each.

CSV files → **training data** → S3 → training, and comparison of the result with the active classifier. The part of a
picture depends on its group alone (or on its content, if it has none): adding pictures never moves one, so a classifier
trained like this last month has not seen what is held out today either.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.classifier.candidate_pairs import Pairs, candidate_pairs
from neardup_platform.learning.classifier.training import CANDIDATES, FOLDS, Recipe
from neardup_platform.learning.classifier.training_pictures import Fingerprints
from neardup_platform.learning.classifier.training_set import (
    TrainingSet,
    embed_copies,
    embed_labelled,
    join,
    recipe_for,
)
from neardup_platform.learning.embedder.labelled_pictures import EmbeddedPictures
from neardup_platform.settings import ImageSettings

# One group in five is held out.
HELD_OUT_ONE_IN = 5


@dataclass(frozen=True, slots=True)
class TrainingData:
    """All data for training and evaluation; picture ids are absolute paths.

    Attributes:
        train: for training.
        held_out: for evaluation.
        altered: pictures with altered copies of them, for training; none of them is held out.
        train_pairs: pairs of `train`, as training mines them.
        held_out_pairs: pairs of `held_out`, mined in the same way.
        recipe: embeddings, blocks and targets.
    """

    train: TrainingSet
    held_out: TrainingSet
    altered: TrainingSet | None
    train_pairs: Pairs
    held_out_pairs: Pairs
    recipe: Recipe


def gather(
    manifests: Sequence[Path], diverse: Path | None, embedders: tuple[Embedder, Embedder], limits: ImageSettings
) -> TrainingData:
    """Embed CSV files in the format of `neardup train`, and mine pairs.

    Raises:
        SetupError: a CSV or a picture cannot be read, or a part has too few groups.
        BadPicture: a picture is refused.
        BadArtefact: a picture has different groups in two files.
    """
    sets = embed_labelled(manifests, embedders, limits)
    pictures = join([_absolute(each, manifest) for each, manifest in zip(sets, manifests, strict=True)])
    held = held_out(pictures.pictures.groups, pictures.fingerprints)
    train, evaluated = pictures.take(~held), pictures.take(held)
    _check_enough(train, evaluated)
    altered = None
    if diverse is not None:
        copies = _absolute(embed_copies(diverse, embedders, limits), diverse)
        altered = copies.take(~np.isin(copies.fingerprints, evaluated.fingerprints))
    return TrainingData(train, evaluated, altered, mine(train), mine(evaluated), recipe_for(embedders))


def mine(pictures: TrainingSet) -> Pairs:
    """Pair each picture with its nearest ones, and with all of its group."""
    return candidate_pairs(pictures.pictures.lsh, pictures.pictures.groups, CANDIDATES)


def held_out(groups: Sequence[str], fingerprints: Fingerprints) -> NDArray[np.bool_]:
    """Which pictures are held out, bool [n]: whole groups, one in `HELD_OUT_ONE_IN`, by a hash of their names."""
    keys = [group or f"\0{int(print_)}" for group, print_ in zip(groups, fingerprints, strict=True)]
    chosen = {key: hashlib.sha256(key.encode()).digest()[0] % HELD_OUT_ONE_IN == 0 for key in set(keys)}
    return np.array([chosen[key] for key in keys], np.bool_)


def _check_enough(train: TrainingSet, evaluated: TrainingSet) -> None:
    for pictures, needed, what in ((train, FOLDS, "to train on"), (evaluated, 1, "held out")):
        _, sizes = np.unique([group for group in pictures.pictures.groups if group], return_counts=True)
        found = int((sizes > 1).sum())
        if found < needed:
            raise SetupError(
                f"{needed} groups of two or more pictures are needed {what}, and there are {found}: one group in "
                f"{HELD_OUT_ONE_IN} is held out, by its name; add more groups"
            )


def _absolute(pictures: TrainingSet, manifest: Path) -> TrainingSet:
    vectors: EmbeddedPictures = pictures.pictures
    ids = tuple(str(manifest.parent.absolute() / name) for name in vectors.ids)
    return replace(pictures, pictures=replace(vectors, ids=ids))
