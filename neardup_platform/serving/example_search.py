"""Search by example: what would be decided about a picture, its vectors or a stored image now, changing nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from neardup_platform.decide import Recording
from neardup_platform.errors import ServerUnavailable
from neardup_platform.images.rgb import Pixels
from neardup_platform.matching import Thresholds
from neardup_platform.records import Candidate, HeldApart, Kind, ModelSpec
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.serving.followed_clusters import FollowedClusters
from neardup_platform.serving.followed_overrides import FollowedOverrides
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.search_corpus import SearchCorpus, Vectors
from neardup_platform.serving.stored_images import known_image, vectors_of
from neardup_platform.store.view import StoreView
from neardup_platform.wire.validation import check_vector

# Reported with a search, besides the time of decoding and embedding a picture.
STAGES = ("terms", "search", "score")


@dataclass(frozen=True, slots=True)
class Found:
    """Result of a search.

    Attributes:
        matches: at or above the threshold, best first, with their present heads.
        cluster: id of the cluster that the example would join, or None.
        score: of the best match in that cluster; 0 without one.
        head_score: against its head; 0 without one.
        thresholds: applied to it.
        guard: the cluster, guarded or in quarantine, that it would be held apart from, or None.
        override_id: the quarantine without which it would go elsewhere, or empty.
        undistinctive: whether it is plain or resembles much, so that it needs better evidence to match.
    """

    matches: tuple[Candidate, ...]
    cluster: str | None
    score: float
    head_score: float
    candidates_found: int
    images_searched: int
    thresholds: Thresholds
    stage_ms: dict[str, float]
    guard: HeldApart | None
    override_id: str
    undistinctive: bool


class ExampleSearch:
    """Searches by example, from one thread at a time."""

    def __init__(self, corpus: SearchCorpus, follower: StoreFollower, overrides: FollowedOverrides) -> None:
        self._corpus = corpus
        self._follower = follower
        self._overrides = overrides

    @property
    def enough_px(self) -> int:
        """Shorter side that the embedders need of a picture.

        Raises:
            ServerUnavailable: models and corpus are still being loaded, or cannot be.
        """
        return self._corpus.models.enough_px

    def by_picture(self, pixels: Pixels, decode_ms: float) -> Found:
        """Searches for a decoded picture.

        Raises:
            ServerUnavailable: models and corpus are still being loaded, or cannot be.
        """
        embed = self._corpus.models.embed
        begun = perf_counter()
        lsh, pair = embed(pixels)
        stage_ms = {"decode": decode_ms, "embed": 1_000 * (perf_counter() - begun)}
        return self._search(one_row(lsh, pair), stage_ms)

    def by_vectors(self, lsh: Sequence[float], pair: Sequence[float]) -> Found:
        """Searches for an image by its two vectors.

        Raises:
            BadMessage: a vector has the wrong dimension, or values that no message may have.
            ServerUnavailable: models and corpus are still being loaded, or cannot be.
        """
        return self._search(checked_vectors(lsh, pair, self._corpus.models.required_models), {})

    def by_id(self, image_id: str) -> Found:
        """Searches for an image of the store among all others, later ones included.

        Merges and quarantines count as for any example; overrides that name the image do not. `cluster` is the one it
        would be in: an image that heads its cluster stays with its members.

        Raises:
            NotFound: it has not been decided, or was forgotten.
            ServerUnavailable: models and corpus are still being loaded, or do not hold the image yet.
        """

        def read(store: StoreView) -> tuple[int, ImageVectors]:
            record = known_image(store, image_id)
            return record.ordinal, vectors_of(store, record)

        ordinal, vectors = self._follower.read(read)
        return self._search(vectors, {}, ordinal)

    def _search(self, example: ImageVectors, stage_ms: dict[str, float], ordinal: int | None = None) -> Found:
        with self._corpus.searching() as pipeline:
            if ordinal is not None and ordinal >= len(pipeline.corpus):
                raise ServerUnavailable("the image was decided a moment ago, and cannot be searched for yet: try again")
            clusters = FollowedClusters(self._follower, pipeline.corpus, self._overrides)
            preview = pipeline.preview(
                example,
                ordinal=ordinal,
                clusters=clusters,
                constraint=clusters.constraint,
                matches_only=True,
                recording=Recording(pipeline.matching.max_candidates, floor=0.0),
            )
        ruling = preview.ruling
        return Found(
            matches=ruling.candidates,
            cluster=ruling.head_id,
            score=ruling.score,
            head_score=0.0 if ruling.head_id is None else ruling.head_score,
            candidates_found=int((preview.scored.ordinals >= 0).sum()),
            images_searched=int(preview.scored.examined[0]),
            thresholds=preview.thresholds,
            stage_ms=stage_ms | {stage: preview.stage_ms[stage] for stage in STAGES},
            guard=ruling.guard,
            override_id=ruling.override_id,
            undistinctive=preview.undistinctive,
        )


def checked_vectors(lsh: Sequence[float], pair: Sequence[float], required: Mapping[Kind, ModelSpec]) -> ImageVectors:
    """The two vectors of an example, one row.

    Raises:
        BadMessage: a vector has the wrong dimension, or values that no message may have.
    """
    return one_row(_checked(Kind.LSH, lsh, required[Kind.LSH].dim), _checked(Kind.PAIR, pair, required[Kind.PAIR].dim))


def one_row(lsh: Vectors, pair: Vectors) -> ImageVectors:
    """The two vectors of an image as they are stored, one row."""
    return ImageVectors(lsh[None].astype(np.float16), pair[None].astype(np.float16))


def _checked(kind: Kind, values: Sequence[float], dim: int) -> Vectors:
    vector = np.asarray(values, np.float64)
    check_vector(vector, kind, dim)
    return vector.astype(np.float32)
