"""The whole pipeline over labelled pictures, in the order of the manifest, as the stream would decide them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.images.embedder import Embedder
from neardup_platform.images.embedding import EmbeddedPicture, PictureSource, Refused, embed_pictures
from neardup_platform.images.labelled_pictures import read_manifest as read_csv
from neardup_platform.pipeline import Pipeline, Scored
from neardup_platform.quality.measures import bcubed_measures, pair_measures, pairs_within, score_measures
from neardup_platform.records import Embedding, JoinedImage, Kind
from neardup_platform.settings import ImageSettings

BATCH_IMAGES = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a manifest; an empty group makes it a distractor."""

    file: Path
    group: str


@dataclass(slots=True)
class Run:
    """What the pipeline did with the pictures it could read, in order."""

    groups: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    seconds: float = 0.0


def read_manifest(path: Path) -> list[Row]:
    """Rows of a CSV with at least the columns `file` (relative to it) and `group`.

    Raises:
        SetupError: the file is missing, empty or has other columns.
        BadArtefact: it lists a file twice.
    """
    rows = [Row(path.parent / line["file"], line["group"].strip()) for line in read_csv(path, ("file", "group"))]
    twice = len(rows) - len({row.file for row in rows})
    if twice:
        raise BadArtefact(f"{path} lists {twice} files more than once")
    return rows


def evaluate(
    rows: Sequence[Row],
    embedders: Sequence[Embedder],
    pipeline: Pipeline,
    settings: ImageSettings,
    progress: Callable[[int], None],
) -> dict[str, float | int | None]:
    """Run the pipeline over the rows and measure it.

    Args:
        rows: pictures and their true groups.
        embedders: one of each kind.
        pipeline: with an empty corpus.
        progress: called with the number of pictures done since the last call.

    Returns:
        The figures of the contract. `candidate_recall` is the share of true pairs whose later image had the
        earlier among its candidates. `coverage` is the share of pictures that were decided; those that cannot
        be read count as found alone. Pair-level figures are over all pairs scored, with true pairs that were
        never scored counted as missed.
    """
    run = _run(rows, embedders, pipeline, settings, progress)
    true_pairs = pairs_within([row.group for row in rows if row.group])
    clusters = run.heads + [f"unread {r.place}" for r in run.refused]
    groups = run.groups + _groups_of_refused(rows, run.refused)
    scores, true = _scored_pairs(run)
    found = int(true.sum())
    return {
        "images": len(rows),
        "pairs_true": true_pairs,
        **pair_measures(clusters, groups),
        **bcubed_measures(clusters, groups),
        "candidate_recall": found / true_pairs if true_pairs else 1.0,
        "coverage": len(run.heads) / len(rows),
        "images_per_s": len(run.heads) / run.seconds,
        **score_measures(scores, true, true_pairs - found),
        "pairs_scored": len(scores),
        "clusters": len(set(run.heads)),
        "largest_cluster": max(Counter(run.heads).values(), default=0),
    }


def _run(
    rows: Sequence[Row],
    embedders: Sequence[Embedder],
    pipeline: Pipeline,
    settings: ImageSettings,
    progress: Callable[[int], None],
) -> Run:
    run, begun = Run(), time.perf_counter()
    group_of = {str(number): _label(row, number) for number, row in enumerate(rows)}
    sources = (PictureSource(str(number), str(row.file), row.file.read_bytes) for number, row in enumerate(rows))
    for batch in embed_pictures(sources, embedders, settings):
        run.refused.extend(batch.refused)
        for part in _parts(batch.pictures):
            images = [JoinedImage(*_halves(picture)) for picture in part]
            for decided in pipeline.decide(images, len(run.heads) + 1, 0):
                run.scored.append(decided.scored)
                run.heads.extend(decision.head for decision in decided.decisions)
            run.groups.extend(group_of[picture.image_id] for picture in part)
        progress(len(batch.pictures) + len(batch.refused))
    run.seconds = time.perf_counter() - begun
    return run


def _parts(pictures: list[EmbeddedPicture]) -> Iterator[list[EmbeddedPicture]]:
    for first in range(0, len(pictures), BATCH_IMAGES):
        yield pictures[first : first + BATCH_IMAGES]


def _halves(picture: EmbeddedPicture) -> tuple[Embedding, Embedding]:
    by_kind = {embedding.kind: embedding for embedding in picture.embeddings(0, "")}
    return by_kind[Kind.LSH], by_kind[Kind.PAIR]


def _label(row: Row, number: int) -> str:
    return row.group or f"distractor {number}"


def _groups_of_refused(rows: Sequence[Row], refused: Sequence[Refused]) -> list[str]:
    labels = {str(row.file): _label(row, number) for number, row in enumerate(rows)}
    return [labels[r.place] for r in refused]


def _scored_pairs(run: Run) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Score and truth of every pair scored, image by image."""
    _, group_codes = np.unique(np.array(run.groups), return_inverse=True)
    ordinals = np.concatenate([scored.ordinals for scored in run.scored])
    scores = np.concatenate([scored.scores for scored in run.scored])
    rows, columns = np.nonzero(ordinals >= 0)
    true = group_codes[rows] == group_codes[ordinals[rows, columns]]
    return scores[rows, columns], true
