"""Cross-validation: every picture is decided by a classifier that was trained without it.

Manifest → vectors, once → parts by group → for each part: train on the others, **run the pipeline over this one** →
metrics pooled over parts. Confusions between pictures of different parts are not tested, so precision is that of a
corpus of one part's size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.evaluation.embedded_rows import EmbeddedRows, embed_rows
from neardup_platform.evaluation.evaluation import trained_on
from neardup_platform.evaluation.folds import parts_of
from neardup_platform.evaluation.manifest import Row
from neardup_platform.evaluation.outcome import Evaluation
from neardup_platform.evaluation.pipeline_run import Run, empty_pipeline, run_pipeline
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.images.embedder import Embedder
from neardup_platform.learning.classifier.train_classifier import train_on_sets
from neardup_platform.learning.classifier.training import Recipe
from neardup_platform.learning.classifier.training_pictures import read_training_pictures
from neardup_platform.learning.classifier.training_set import (
    TrainingSet,
    embed_copies,
    embed_labelled,
    join,
    recipe_for,
)
from neardup_platform.scoring.keras_classifier import load_classifier
from neardup_platform.settings import ImageSettings, Settings
from neardup_platform.terms.hyperplanes import TermSpace, load_term_space

FOLD_SEED = 1
# The part of a picture that is only used for training, never evaluated.
_NEVER = -1


@dataclass(frozen=True, slots=True)
class Trainable:
    """All pictures that may be used for training.

    Attributes:
        pictures: labelled.
        part: int64 [n], the part for which each picture must not be used; −1 for none.
        altered: pictures with altered copies, none of them evaluated.
    """

    pictures: TrainingSet
    part: NDArray[np.int64]
    altered: TrainingSet | None


def cross_validate(
    rows: Sequence[Row],
    folds: int,
    settings: Settings,
    progress: Callable[[int], None],
    report: Callable[[str], None],
    *,
    also: Sequence[Path] = (),
    diverse: Path | None = None,
    embedders: tuple[Embedder, Embedder] | None = None,
) -> Evaluation:
    """Split the rows into parts by group and evaluate each with a classifier trained on the others.

    Args:
        rows: of a manifest.
        folds: number of parts, at least 2.
        settings: which embedders and term space, thresholds and caps; its classifier is not used.
        progress: called with the number of pictures embedded since the last call.
        report: called with a line about the current step.
        also: more labelled CSV files for training, never evaluated. Pictures in them that share a group with an
            evaluated picture are not used to train for its part.
        diverse: CSV of pictures no two of which are alike, to train on altered copies of. Pictures of `rows` among them
            are skipped.
        embedders: of kind `lsh` and `pair`, if they are already loaded.

    Raises:
        SetupError: there are too few groups, or a file cannot be read.
        BadPicture: a picture of `also` or `diverse` is refused.
        BadArtefact: a picture has another group in `also`.
    """
    loaded, space = embedders or load_embedders(settings.images), load_term_space(settings.terms.space)
    _check_groups(rows, folds)
    embedded = embed_rows(rows, loaded, settings.images, progress)
    part = parts_of([row.group for row in rows], embedded.fingerprints, folds, FOLD_SEED)
    data = trainable(embedded, part, also, diverse, loaded, settings.images)
    recipe = recipe_for(loaded)
    runs, seen = [], 0
    for fold in range(folds):
        numbers = np.flatnonzero(part == fold)
        report(f"part {fold + 1} of {folds}: training without its {len(numbers):,} pictures, then evaluating on them")
        pictures = data.pictures.take(data.part != fold)
        run, known = _evaluate_part(embedded, numbers, (pictures, data.altered), recipe, space, settings)
        runs.append(run)
        seen += known
    return Evaluation(embedded, runs, seen, folds)


def trainable(
    embedded: EmbeddedRows,
    part: NDArray[np.int64],
    also: Sequence[Path],
    diverse: Path | None,
    embedders: tuple[Embedder, Embedder],
    limits: ImageSettings,
) -> Trainable:
    """The evaluated rows and the pictures of further files, with the part for which each must not be used in training.

    Args:
        embedded: rows to evaluate.
        part: int64 [len(embedded.rows)], of each row.
        also: more labelled CSV files. An evaluated picture is skipped; one whose group is evaluated gets its part.
        diverse: CSV of pictures to alter. An evaluated picture is skipped.
        embedders: of kind `lsh` and `pair`.
        limits: of decoding.

    Raises:
        SetupError: a file cannot be read.
        BadPicture: a picture of `also` or `diverse` is refused.
        BadArtefact: a picture has another group in `also`.
    """
    numbers = sorted(embedded.images)
    own = TrainingSet(embedded.vectors(numbers), embedded.fingerprints[numbers])
    everything = join([own, *embed_labelled(also, embedders, limits)])
    part_of_group = {row.group: int(part[number]) for number, row in enumerate(embedded.rows) if row.group}
    more = [part_of_group.get(group, _NEVER) for group in everything.pictures.groups[len(numbers) :]]
    altered = None
    if diverse is not None:
        copies = embed_copies(diverse, embedders, limits)
        apart = ~np.isin(copies.fingerprints, embedded.fingerprints)
        altered = copies.take(apart) if apart.any() else None
    return Trainable(everything, np.concatenate([part[numbers], np.array(more, np.int64)]), altered)


def _evaluate_part(
    embedded: EmbeddedRows,
    numbers: NDArray[np.int64],
    training: tuple[TrainingSet, TrainingSet | None],
    recipe: Recipe,
    space: TermSpace,
    settings: Settings,
) -> tuple[Run, int]:
    """The run over one part, and how many of its pictures its classifier was nevertheless trained on."""
    with TemporaryDirectory(prefix="neardup-fold-") as folder:
        card = train_on_sets(*training, Path(folder), recipe)
        scorer, seen = (
            load_classifier(Path(folder), clustering=settings.scoring.kinds),
            read_training_pictures(card, Path(folder)),
        )
    run = run_pipeline(embedded, numbers.tolist(), empty_pipeline(space, scorer, settings))
    return run, 0 if seen is None else trained_on(embedded.fingerprints[numbers], seen)


def _check_groups(rows: Sequence[Row], folds: int) -> None:
    """Refuse rows that cannot be split, before anything is embedded."""
    if folds < 2:
        raise SetupError(f"{folds} folds: at least 2 are needed, one to evaluate and one to train on")
    files_apart = np.arange(1, len(rows) + 1, dtype=np.uint64)
    parts_of([row.group for row in rows], files_apart, folds, FOLD_SEED)
