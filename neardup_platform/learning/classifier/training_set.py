"""Training pictures for the pair classifier, from one or more CSV files, with the fingerprints of their files.

CSV files → **vectors, groups and fingerprints** → training; the fingerprints record what was trained on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.classifier.training import Recipe
from neardup_platform.learning.classifier.training_pictures import Fingerprints, fingerprint
from neardup_platform.learning.embedder.labelled_pictures import EmbeddedPictures, embed_altered, embed_manifest
from neardup_platform.scoring.features import Block
from neardup_platform.settings import ImageSettings

ALTERED_PICTURES, COPIES, SEED = 4_000, 2, 1


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Labelled vectors; row i comes from the file with fingerprint i.

    Attributes:
        pictures: ids, groups and vectors.
        fingerprints: uint64 [n]; an altered copy has that of its original file.
    """

    pictures: EmbeddedPictures
    fingerprints: Fingerprints

    def take(self, kept: NDArray[np.bool_]) -> "TrainingSet":
        """The rows where `kept`, bool [n], is true."""
        rows, pictures = np.flatnonzero(kept), self.pictures
        chosen = EmbeddedPictures(
            tuple(pictures.ids[row] for row in rows),
            tuple(pictures.groups[row] for row in rows),
            pictures.lsh[rows],
            pictures.pair[rows],
            tuple(pictures.labels[row] for row in rows),
        )
        return TrainingSet(chosen, self.fingerprints[rows])


def embed_labelled(
    manifests: Sequence[Path], embedders: tuple[Embedder, Embedder], limits: ImageSettings, *, labelled: bool = True
) -> list[TrainingSet]:
    """Embed CSV files with the columns `file` (relative to each) and `group`, one set per file.

    If they are not `labelled`, the column `group` may be missing.

    Raises:
        SetupError: a CSV or a picture cannot be read.
        BadPicture: a picture is refused.
    """
    with _missing_picture_is_setup_error():
        return [_with_fingerprints(m, embed_manifest(m, embedders, limits, labelled=labelled)) for m in manifests]


def embed_copies(diverse: Path, embedders: tuple[Embedder, Embedder], limits: ImageSettings) -> TrainingSet:
    """Embed the pictures of a CSV with the column `file`, no two of which are alike, and altered copies of them.

    Raises:
        SetupError: a CSV or a picture cannot be read.
        BadPicture: a picture is refused.
    """
    with _missing_picture_is_setup_error():
        found = embed_altered(diverse, embedders, limits, most_pictures=ALTERED_PICTURES, copies=COPIES, seed=SEED)
        return _with_fingerprints(diverse, found)


def join(sets: Sequence[TrainingSet]) -> TrainingSet:
    """Join sets into one; a group that occurs in two sets is one group, and a picture listed twice counts once.

    Raises:
        BadArtefact: a picture has different groups in two sets.
    """
    kept = [sets[0]]
    for each in sets[1:]:
        known = {
            int(print_): (group, name)
            for one in kept
            for print_, group, name in zip(one.fingerprints, one.pictures.groups, one.pictures.ids, strict=True)
        }
        for print_, group, name in zip(each.fingerprints, each.pictures.groups, each.pictures.ids, strict=True):
            other = known.get(int(print_), (group, name))
            if other[0] != group:
                raise BadArtefact(
                    f"{name} is the same picture as {other[1]}, and their groups are {group!r} and {other[0]!r}: "
                    "give it one group in both files"
                )
        kept.append(each.take(np.array([int(print_) not in known for print_ in each.fingerprints], np.bool_)))
    pictures = [one.pictures for one in kept]
    return TrainingSet(
        EmbeddedPictures(
            tuple(name for one in pictures for name in one.ids),
            tuple(group for one in pictures for group in one.groups),
            np.concatenate([one.lsh for one in pictures]),
            np.concatenate([one.pair for one in pictures]),
            tuple(labels for one in pictures for labels in one.labels),
        ),
        np.concatenate([one.fingerprints for one in kept]),
    )


def recipe_for(embedders: tuple[Embedder, Embedder]) -> Recipe:
    """The training recipe for the active embedders."""
    lsh, pair = embedders
    return Recipe(lsh.model_version, pair.model_version, tuple(Block(*block) for block in pair.blocks))


def _with_fingerprints(manifest: Path, pictures: EmbeddedPictures) -> TrainingSet:
    # The name of an altered copy is that of its picture, with a number after the last #.
    files = [name.rpartition("#")[0] if _is_copy(manifest, name) else name for name in pictures.ids]
    known = {file: fingerprint((manifest.parent / file).read_bytes()) for file in set(files)}
    groups = tuple(group.strip() for group in pictures.groups)
    return TrainingSet(replace(pictures, groups=groups), np.array([known[file] for file in files], np.uint64))


def _is_copy(manifest: Path, name: str) -> bool:
    return "#" in name and not (manifest.parent / name).exists()


@contextmanager
def _missing_picture_is_setup_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(f"a picture named by a CSV cannot be read ({error}): files are relative to the CSV") from error
