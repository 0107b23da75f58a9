"""Search by example: what would be decided about a picture or its vectors now, changing nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np

from neardup_platform.clusters.decision import choose_cluster
from neardup_platform.corpus import stored_vectors
from neardup_platform.errors import InvariantBroken
from neardup_platform.images.rgb import Pixels
from neardup_platform.pipeline import Matching, PairScorer
from neardup_platform.records import Candidate, Kind
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.search_corpus import SearchCorpus, Vectors
from neardup_platform.store.view import StoreView
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.validation import check_vector


@dataclass(frozen=True, slots=True)
class Found:
    """Result of a search.

    Attributes:
        matches: at or above the threshold, best first, with the heads they have now.
        cluster: id of the cluster that the example would join, or None.
        score: of the best match in that cluster; 0 without one.
        head_score: against its head; 0 without one.
    """

    matches: tuple[Candidate, ...]
    cluster: str | None
    score: float
    head_score: float
    candidates_found: int
    images_searched: int
    matching: Matching
    stage_ms: dict[str, float]


class ExampleSearch:
    """The searcher; safe to use from one thread at a time."""

    def __init__(self, corpus: SearchCorpus, follower: StoreFollower) -> None:
        self._corpus = corpus
        self._follower = follower

    @property
    def enough_px(self) -> int:
        """Shorter side that the embedders need of a picture.

        Raises:
            ServerUnavailable: not warmed up yet.
        """
        return self._corpus.models.enough_px

    def by_picture(self, pixels: Pixels, decode_ms: float) -> Found:
        """Search for a picture that has been decoded.

        Raises:
            ServerUnavailable: not warmed up yet.
        """
        embed = self._corpus.models.embed
        begun = perf_counter()
        lsh, pair = embed(pixels)
        stage_ms = {"decode": decode_ms, "embed": 1_000 * (perf_counter() - begun)}
        return self._search(lsh, pair, stage_ms)

    def by_vectors(self, lsh: Sequence[float], pair: Sequence[float]) -> Found:
        """Search for an image whose two vectors are known.

        Raises:
            BadMessage: a vector has the wrong dimension or values that no message may have.
            ServerUnavailable: not warmed up yet.
        """
        expects = self._corpus.models.expects
        return self._search(
            _checked(Kind.LSH, lsh, expects[Kind.LSH].dim), _checked(Kind.PAIR, pair, expects[Kind.PAIR].dim), {}
        )

    def _search(self, lsh: Vectors, pair: Vectors, stage_ms: dict[str, float]) -> Found:
        models = self._corpus.models
        example = ImageVectors(lsh[None].astype(np.float16), pair[None].astype(np.float16))
        begun = perf_counter()
        hashed = models.space.hash(example.lsh.astype(np.float32))
        stage_ms["terms"] = 1_000 * (perf_counter() - begun)
        with self._corpus.searching() as pipeline:
            found = pipeline.match(example, hashed, None, stage_ms)
            scores, ordinals = found.scores[0], found.ordinals[0]
            # Together with the scores: another classifier may take its place as soon as the block ends.
            scorer, matching = pipeline.scorer, pipeline.matching
            rows = [r for r in np.lexsort((ordinals, -scores)) if scores[r] >= matching.threshold]
            names = {int(ordinals[row]): pipeline.corpus.id_of(int(ordinals[row])) for row in rows}
            held = len(pipeline.corpus)
        present = self._follower.read(lambda store: _present(store, names, held))
        rows = [row for row in rows if int(ordinals[row]) in present.heads]
        heads, vectors = [present.heads[int(ordinals[row])] for row in rows], present.vectors
        head_scores = _score_heads(scorer, example, vectors)
        number = {head: n for n, head in enumerate(vectors)}
        matched = [
            (float(scores[row]), int(ordinals[row]), number[head]) for row, head in zip(rows, heads, strict=True)
        ]
        verdict = choose_cluster(matched, lambda head: head_scores[head], matching.head_threshold)
        return Found(
            matches=tuple(
                Candidate(names[int(ordinals[row])], int(found.overlaps[0, row]), float(scores[row]), head)
                for row, head in zip(rows, heads, strict=True)
            ),
            cluster=None if verdict.head is None else list(vectors)[verdict.head],
            score=verdict.score,
            head_score=0.0 if verdict.head is None else verdict.head_score,
            candidates_found=int((ordinals >= 0).sum()),
            images_searched=int(found.examined[0]),
            matching=matching,
            stage_ms=stage_ms,
        )


def _checked(kind: Kind, values: Sequence[float], dim: int) -> Vectors:
    vector = np.asarray(values, np.float64)
    check_vector(vector, kind, dim)
    return vector.astype(np.float32)


class _Present(NamedTuple):
    """Heads of images by the images' ordinals, and the vectors of the distinct heads, in order of first mention."""

    heads: dict[int, str]
    vectors: dict[str, pb.VectorRecord]


def _present(store: StoreView, names: dict[int, str], held: int) -> _Present:
    """Where images are now; those that were forgotten are left out, and ordinals in whose place the corpus has another.

    Args:
        names: image ids by ordinal, as the corpus had them.
        held: ordinals that the corpus had.
    """
    if not names:
        return _Present({}, {})
    records = store.images(list(names.values()))
    heads = {
        ordinal: record.head
        for ordinal, record in zip(names, records, strict=True)
        if record is not None and (record.ordinal == ordinal or record.ordinal >= held)
    }
    distinct = list(dict.fromkeys(heads.values()))
    records = store.images(distinct) if distinct else []
    vectors = {head: store.vector(_known(head, record).ordinal) for head, record in zip(distinct, records, strict=True)}
    return _Present(heads, vectors)


def _known(head: str, record: pb.ImageRecord | None) -> pb.ImageRecord:
    if record is None:
        raise InvariantBroken(f"{head!r} heads a cluster and is not known to the store")
    return record


def _score_heads(scorer: PairScorer, example: ImageVectors, heads: dict[str, pb.VectorRecord]) -> list[float]:
    if not heads:
        return []
    vectors = stored_vectors([(record.lsh, record.pair) for record in heads.values()])
    scores = scorer.score(example, np.zeros(len(heads), np.int64), vectors, np.arange(len(heads)))
    return [float(score) for score in scores]
