"""Scores recorded candidates again with another classifier, from the vectors in the store.

Only recorded candidates are scored: what the classifier in use scored below the recorded floor, and what the search
never found, is not seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.matching import PairScorer
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.store.store_pb2 import VectorRecord
from neardup_platform.store.view import StoreView
from neardup_platform.what_if.recorded import Edges, Flags, Recorded, Scores
from neardup_platform.what_if.replay import Evidence

# Pairs scored in one call; vectors of as many images are in memory.
_CHUNK_PAIRS = 8_192


@dataclass(frozen=True, slots=True)
class Rescored:
    """What a classifier says of recorded candidates.

    Attributes:
        evidence: scores of the classifier; images that were not scored again are pinned.
        undistinctive: bool [N], by the classifier, of the images that were scored again.
        images: scored again.
        pairs: scored again.
        left_out: images with candidates beyond the limit of pairs, the oldest ones.
        gone: images without vectors, because they were forgotten since.
    """

    evidence: Evidence
    undistinctive: Flags
    images: int
    pairs: int
    left_out: int
    gone: int


class Classifier(PairScorer, Protocol):
    """A classifier that names the embeddings it was trained on."""

    @property
    def required_models(self) -> dict[Kind, ModelSpec]:
        """By kind."""


class _Vectors(NamedTuple):
    """Vectors of some nodes: `row[node]` is the row; −1 for a node without vectors."""

    row: dict[int, int]
    rows: ImageVectors


def rescore(
    recorded: Recorded,
    store: StoreView,
    classifier: Classifier,
    most_pairs: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Rescored:
    """Scores the recorded candidates of the newest images again.

    Args:
        recorded: with the candidates of all images.
        store: holds their vectors.
        classifier: the candidate.
        most_pairs: scored, at most.
        progress: called with the number of pairs that were scored.

    Raises:
        BadArtefact: the classifier was trained on other embeddings than the store holds.
    """
    edges = recorded.edges
    counts = np.diff(edges.starts)
    newest = np.cumsum(counts[::-1])[::-1] <= most_pairs
    wanted = np.flatnonzero((counts > 0) & newest)
    score, head_score = edges.score.copy(), recorded.head_score.copy()
    undistinctive, pinned = recorded.undistinctive.copy(), recorded.pinned.copy()
    pinned[(counts > 0) & ~newest] = True
    gone = pairs = 0
    for images in _chunks(wanted, counts):
        at = np.concatenate([np.arange(edges.starts[i], edges.starts[i + 1]) for i in images])
        of = np.repeat(images, counts[images])
        vectors = _read(recorded, store, classifier, {*images, *edges.candidate[at], *recorded.head[images]})
        known = np.array([vectors.row[int(i)] >= 0 for i in images])
        pinned[images[~known]] = True
        gone += int((~known).sum())
        score[at] = _scores(classifier, vectors, of, edges.candidate[at])
        joined = images[known & (recorded.head[images] != images)]
        head_score[joined] = _scores(classifier, vectors, joined, recorded.head[joined])
        rows = np.array([vectors.row[int(i)] for i in images[known]], np.int64)
        if len(rows):
            undistinctive[images[known]] = classifier.undistinctive(vectors.rows.at(rows))
        pairs += len(at)
        progress(len(at))
    evidence = Evidence(Edges(edges.starts, edges.candidate, score, edges.copy).rescored(score), head_score, pinned)
    left_out = int(((counts > 0) & ~newest).sum())
    return Rescored(evidence, undistinctive, len(wanted) - gone, pairs, left_out, gone)


def _chunks(images: NDArray[np.int64], counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Splits images so that each part has at most about `_CHUNK_PAIRS` candidates; no image is split."""
    if not len(images):
        return
    part = np.cumsum(counts[images]) // _CHUNK_PAIRS
    yield from np.split(images, np.flatnonzero(np.diff(part)) + 1)


def _read(recorded: Recorded, store: StoreView, classifier: Classifier, wanted: set[int]) -> _Vectors:
    """Reads the present vectors of nodes."""
    nodes = sorted(int(node) for node in wanted)
    records = store.images.find_many(recorded.names(nodes))
    found = [None if record is None else store.vectors.find(record.ordinal) for record in records]
    row: dict[int, int] = {}
    kept: list[VectorRecord] = []
    for node, vectors in zip(nodes, found, strict=True):
        row[node] = -1 if vectors is None else len(kept)
        if vectors is not None:
            _check(vectors, classifier)
            kept.append(vectors)
    dims = (classifier.required_models[kind].dim for kind in (Kind.LSH, Kind.PAIR))
    stacked = (
        np.frombuffer(b"".join(getattr(each, kind) for each in kept), "<f2").reshape(-1, dim)
        for kind, dim in zip(("lsh", "pair"), dims, strict=True)
    )
    return _Vectors(row, ImageVectors(*stacked))


def _check(vectors: VectorRecord, classifier: Classifier) -> None:
    required = classifier.required_models
    for kind, stored in ((Kind.LSH, vectors.lsh_version), (Kind.PAIR, vectors.pair_version)):
        if stored != required[kind].version:
            raise BadArtefact(
                f"classifier {classifier.version} was trained on {kind} embeddings of {required[kind].version!r}, the "
                f"vectors of {vectors.image_id!r} are of {stored!r}: choose a classifier for these embeddings"
            )


def _scores(
    classifier: Classifier, vectors: _Vectors, images: NDArray[np.integer], others: NDArray[np.integer]
) -> Scores:
    """The scores of pairs, those of one image adjacent; 0 where a vector is gone."""
    a = np.array([vectors.row[int(i)] for i in images], np.int64)
    b = np.array([vectors.row[int(i)] for i in others], np.int64)
    found = np.zeros(len(a), np.float32)
    told = (a >= 0) & (b >= 0)
    if told.any():
        found[told] = classifier.score(vectors.rows, a[told], vectors.rows, b[told])
    return found
