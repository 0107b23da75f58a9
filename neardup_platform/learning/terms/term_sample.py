"""The pictures that a term space is fitted to and evaluated on: one or two CSV files, embedded.

Not part of the data flow: CSV → decode → embed → **vectors with groups** → `tune_terms`. If the pictures are not
labelled, altered copies of them are the near-duplicates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.embedder.labelled_pictures import (
    EmbeddedPictures,
    embed_altered,
    embed_manifest,
    read_manifest,
)
from neardup_platform.settings import ImageSettings

ALTERED_PICTURES, COPIES, SEED = 2_000, 2, 1
# The mean of fewer pictures is not representative.
FEWEST_FITTED = 32
ALONE = -1
_ALL = 1 << 62


@dataclass(frozen=True)
class TermSample:
    """Vectors of one model version.

    Attributes:
        model_version: of the `lsh` embedder.
        vectors: float32 [n, dim], the corpus that is searched.
        groups: int64 [n], equal for near-duplicates of one another, ALONE for pictures that resemble no other.
        fitted: float32 [m, dim], the vectors that centring and cells are fitted to; none has a near-duplicate here.
    """

    model_version: str
    vectors: NDArray[np.float32]
    groups: NDArray[np.int64]
    fitted: NDArray[np.float32]


def embed_sample(
    manifest: Path,
    diverse: Path | None,
    embedders: tuple[Embedder, Embedder],
    limits: ImageSettings,
    report: Callable[[str], None],
) -> TermSample:
    """Embed the pictures for evaluation and for fitting.

    Args:
        manifest: CSV with the column `file` and, if the pictures are labelled, `group`. If no row has a group, altered
            copies are made of at most ALTERED_PICTURES pictures, no two of which should be alike.
        diverse: CSV with the column `file`: pictures that resemble no other in either file, to fit to and to search
            among. None: those of the manifest without a group; of unlabelled pictures, every second one is set aside.
        embedders: of kind `lsh` and `pair`.
        limits: of decoding.
        report: called with a line about the current step.

    Raises:
        SetupError: a CSV or a picture cannot be read, no two pictures are near-duplicates, or there are fewer than
            FEWEST_FITTED to fit to.
        BadPicture: a picture is refused.
    """
    rows = read_manifest(manifest, ("file",))
    labelled = any((row.get("group") or "").strip() for row in rows)
    try:
        if labelled:
            report(f"embedding the {len(rows):,} pictures of {manifest}")
            vectors, groups = _coded(embed_manifest(manifest, embedders, limits))
        else:
            report(f"embedding pictures of {manifest}, which has no groups, and {COPIES} altered copies of each")
            altered = _altered(manifest, embedders, limits, ALTERED_PICTURES, COPIES)
            vectors, groups = _coded(altered) if diverse else _set_half_aside(*_coded(altered))
        others = np.zeros((0, vectors.shape[1]), np.float32)
        if diverse is not None:
            report(f"embedding the pictures of {diverse}")
            others, _ = _coded(_altered(diverse, embedders, limits, _ALL, 0))
    except OSError as error:
        raise SetupError(f"a picture named by a CSV cannot be read ({error}): files are relative to the CSV") from error
    if not np.any(np.bincount(groups[groups != ALONE]) > 1):
        raise SetupError(f"{manifest}: no group has two pictures, so there are no near-duplicates")
    fitted = others if diverse else vectors[groups == ALONE]
    if len(fitted) < FEWEST_FITTED:
        raise SetupError(
            f"{diverse or manifest} has {len(fitted)} pictures that resemble no other, and fitting needs at least "
            f"{FEWEST_FITTED}: add more with --diverse"
        )
    everything = np.concatenate([groups, np.full(len(others), ALONE)])
    return TermSample(embedders[0].model_version, np.concatenate([vectors, others]), everything, fitted)


def _altered(
    manifest: Path, embedders: tuple[Embedder, Embedder], limits: ImageSettings, most: int, copies: int
) -> EmbeddedPictures:
    return embed_altered(manifest, embedders, limits, most_pictures=most, copies=copies, seed=SEED)


def _coded(pictures: EmbeddedPictures) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors, and groups as numbers."""
    names, codes = np.unique([group.strip() for group in pictures.groups], return_inverse=True)
    # Vectors are stored as float16, so terms are computed from float16.
    return pictures.lsh.astype(np.float32), np.where(names[codes] == "", ALONE, codes).astype(np.int64)


def _set_half_aside(
    vectors: NDArray[np.float32], groups: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Every second picture loses its copies and is used for fitting; the rows of a picture follow its original."""
    original = np.concatenate([[True], groups[1:] != groups[:-1]])
    evaluated = groups % 2 == 0
    kept = evaluated | original
    return vectors[kept], np.where(evaluated, groups, ALONE)[kept]
