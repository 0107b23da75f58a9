"""From joined images to decisions, on one screen; the stream, evaluation and search by example all use it.

terms → search → score → decide. Adapters are handed in: no Kafka, RocksDB or TensorFlow is imported here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.clusters.decision import FREE, Constraint, choose_cluster
from neardup_platform.clusters.representatives import is_representative
from neardup_platform.corpus import Corpus, Ordinals
from neardup_platform.records import Candidate, Decision, JoinedImage
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.settings import Settings, TermSettings
from neardup_platform.terms.cascade import View
from neardup_platform.terms.hyperplanes import Hashed, TermSpace

# A decision records its candidates down to this score, so that any threshold above it can be applied later.
RECORDED_SCORE_FLOOR = 0.01
RECORDED_CANDIDATES = 64


Constrain = Callable[[str], Constraint]


def unconstrained(_image_id: str) -> Constraint:
    """What the stream goes by: overrides name images that were decided before."""
    return FREE


class PairScorer(Protocol):
    """What the pipeline needs of a pair classifier."""

    @property
    def version(self) -> str:
        """Named in every decision."""

    @property
    def threshold(self) -> float:
        """Pair score of a match, unless the settings say otherwise."""

    @property
    def head_threshold(self) -> float:
        """Pair score needed against the head, unless the settings say otherwise."""

    def score(self, a: ImageVectors, rows_a: Ordinals, b: ImageVectors, rows_b: Ordinals) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 [n], for pairs of a row of `a` and a row of `b`, int64 [n] each."""


@dataclass(frozen=True, slots=True)
class Matching:
    """How candidates are found and judged.

    Attributes:
        max_candidates: K of the search.
        min_overlap: equal terms a candidate needs.
        threshold: pair score of a match.
        head_threshold: pair score needed against the head.
        max_representatives: members of a cluster that are searched.
    """

    max_candidates: int
    min_overlap: int
    threshold: float
    head_threshold: float
    max_representatives: int = TermSettings().max_representatives

    @classmethod
    def of(cls, settings: Settings, scorer: PairScorer) -> "Matching":
        """What is in force: thresholds from the settings where given, else those stored with the classifier."""
        return cls(
            settings.terms.max_candidates,
            settings.terms.min_overlap,
            settings.scoring.threshold or scorer.threshold,
            settings.scoring.head_threshold or scorer.head_threshold,
            settings.terms.max_representatives,
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """Candidates with their pair scores, nearest first, all [n, K]; ordinal −1 and score 0 pad a row.

    Attributes:
        examined: int64 [n], images that the search compared with each at all.
    """

    ordinals: Ordinals
    overlaps: NDArray[np.uint8]
    scores: NDArray[np.float32]
    examined: NDArray[np.int64]

    def score_of(self, row: int, ordinal: int) -> float | None:
        """Pair score of an image with a candidate; None where it was not one."""
        columns = np.flatnonzero(self.ordinals[row] == ordinal)
        return float(self.scores[row, columns[0]]) if len(columns) else None


@dataclass(slots=True)
class Added:
    """Images that are in the corpus and searchable, but not decided; row i belongs to image i.

    Attributes:
        view: what they are compared with, however late that is done.
    """

    images: Sequence[JoinedImage]
    ordinals: Ordinals
    vectors: ImageVectors
    hashed: Hashed
    view: View
    stage_ms: dict[str, float]


@dataclass(slots=True)
class Decided:
    """Images decided together, and everything the commit writes of them; row i belongs to image i.

    Attributes:
        retired: bool [n], images that their cluster has no need to be found by.
    """

    images: Sequence[JoinedImage]
    ordinals: Ordinals
    vectors: ImageVectors
    scored: Scored
    retired: NDArray[np.bool_]
    decisions: list[Decision] = field(default_factory=list)
    stage_ms: dict[str, float] = field(default_factory=dict)


class Pipeline:
    """Decides micro-batches against a corpus, which it grows.

    The result does not depend on how a sequence of images is cut into batches: image i is compared with every
    image before it, those of its own batch included.
    """

    def __init__(self, space: TermSpace, scorer: PairScorer, corpus: Corpus, matching: Matching) -> None:
        self.space = space
        self.scorer = scorer
        self.corpus = corpus
        self.matching = matching

    def decide(self, images: Sequence[JoinedImage], first_sequence: int, decided_ms: int) -> list[Decided]:
        """Decide images in the order given: `add`, `compare` and `settle` in turn.

        Args:
            images: none decided before.
            first_sequence: of the first image; the rest count up from it.
            decided_ms: the clock, Unix milliseconds.

        Returns:
            The images in micro-batches, which end where a block of the index does.
        """
        batches = []
        for part in self.cut(images):
            added = self.add(part)
            batches.append(self.settle(added, self.compare(added), first_sequence, decided_ms))
            first_sequence += len(part)
        return batches

    def cut(self, images: Sequence[JoinedImage]) -> Iterator[Sequence[JoinedImage]]:
        """The images in parts that may be added and compared as one, to be added one after the other."""
        while images:
            room = self.corpus.index.room
            yield images[:room]
            images = images[room:]

    def add(self, images: Sequence[JoinedImage]) -> Added:
        """Put images into the corpus, where later ones find them at once."""
        stage_ms: dict[str, float] = {}
        lsh = np.stack([image.lsh.vector for image in images]).astype(np.float16)
        pair = np.stack([image.pair.vector for image in images]).astype(np.float16)
        vectors = ImageVectors(lsh, pair)
        with _timed(stage_ms, "terms"):
            hashed = self.space.hash(lsh.astype(np.float32))
        ordinals = self.corpus.add([image.image_id for image in images], vectors, hashed)
        return Added(images, ordinals, vectors, hashed, self.corpus.index.view(), stage_ms)

    def compare(self, added: Added) -> Scored:
        """Compare images with all before them.

        Looks at nothing that deciding changes, so it may run in a thread of its own while those before are settled.
        """
        return self.match(added.vectors, added.hashed, added.ordinals, added.stage_ms, added.view)

    def settle(
        self,
        added: Added,
        scored: Scored,
        first_sequence: int,
        decided_ms: int,
        constrain: Constrain = unconstrained,
    ) -> Decided:
        """Decide images, in the order of adding; `constrain` says by id what overrides demand of them."""
        images, ordinals = added.images, added.ordinals
        retired = np.zeros(len(images), np.bool_)
        batch = Decided(images, ordinals, added.vectors, scored, retired, stage_ms=added.stage_ms)
        with _timed(batch.stage_ms, "decide"):
            head_scores = self._head_scores(batch)
            for row in range(len(images)):
                constraint = constrain(images[row].image_id)
                decision = self._decide_one(batch, row, head_scores, first_sequence + row, decided_ms, constraint)
                batch.decisions.append(decision)
            batch.retired = self.corpus.retired(ordinals)
            self.corpus.index.retire(ordinals[batch.retired])
        return batch

    def match(
        self,
        vectors: ImageVectors,
        hashed: Hashed,
        before: Ordinals | None,
        stage_ms: dict[str, float],
        view: View | None = None,
    ) -> Scored:
        """Search and score, changing nothing.

        Args:
            vectors: of n images.
            hashed: their `lsh` vectors.
            before: only images of a smaller ordinal; None for all.
            stage_ms: receives the time of each stage.
            view: of the term index; None: as it is now.
        """
        with _timed(stage_ms, "search"):
            found = self.corpus.index.search(
                hashed, self.matching.max_candidates, self.matching.min_overlap, before, view
            )
        with _timed(stage_ms, "score"):
            rows, columns = np.nonzero(found.ordinals >= 0)
            scores = np.zeros(found.ordinals.shape, np.float32)
            scores[rows, columns] = self._score(vectors, rows, found.ordinals[rows, columns])
        return Scored(found.ordinals, found.overlaps, scores, found.examined)

    def pair_score(self, one: int, other: int) -> float:
        """Pair score of two images of the corpus, by ordinal."""
        return float(self._score(self.corpus.vectors.rows, np.array([one]), np.array([other]))[0])

    def _score(self, vectors: ImageVectors, rows: Ordinals, ordinals: Ordinals) -> NDArray[np.float32]:
        return self.scorer.score(vectors, rows, self.corpus.vectors.rows, ordinals)

    def _head_scores(self, batch: Decided) -> dict[tuple[int, int], float]:
        """Pair scores of every image against the heads of its matches that are no candidates and not of the batch."""
        scored = batch.scored
        rows, columns = np.nonzero(scored.scores >= self.matching.threshold)
        heads = self.corpus.heads_of(scored.ordinals[rows, columns])
        wanted = {(int(row), int(head)) for row, head in zip(rows, heads, strict=True) if head >= 0}
        keys = sorted(key for key in wanted if scored.score_of(*key) is None)
        if not keys:
            return {}
        pairs = np.array(keys, np.int64)
        scores = self._score(batch.vectors, pairs[:, 0], pairs[:, 1])
        return dict(zip(keys, scores.tolist(), strict=True))

    def _decide_one(
        self,
        batch: Decided,
        row: int,
        head_scores: dict[tuple[int, int], float],
        sequence: int,
        decided_ms: int,
        constraint: Constraint,
    ) -> Decision:
        image, ordinal = batch.images[row], int(batch.ordinals[row])
        scores, ordinals = batch.scored.scores[row], batch.scored.ordinals[row]

        def head_score(head: int) -> float:
            known = batch.scored.score_of(row, head)
            if known is None:
                known = head_scores.get((row, head))
            if known is None:  # the head was founded in this very batch
                known = float(self._score(batch.vectors, np.array([row]), np.array([head]))[0])
            return known

        matches = [
            (float(scores[c]), int(ordinals[c]), self.corpus.head_of(int(ordinals[c])))
            for c in np.nonzero(scores >= self.matching.threshold)[0]
        ]
        verdict = choose_cluster(matches, head_score, self.matching.head_threshold, constraint)
        recorded = self._record(batch.scored, row)
        head = ordinal if verdict.head is None else verdict.head
        represents = is_representative(
            head == ordinal,
            self.corpus.representatives_of(head),
            self.matching.max_representatives,
            self._nearest_overlap(batch.scored, row, head),
            self.space.tables,
        )
        self.corpus.set_head(ordinal, head, represents=represents)
        return Decision(
            sequence=sequence,
            image_id=image.image_id,
            head=self.corpus.id_of(head),
            score=verdict.score,
            head_score=verdict.head_score,
            candidates=recorded,
            candidates_found=int((ordinals >= 0).sum()),
            bridges=tuple(self.corpus.id_of(head) for head in verdict.bridges),
            threshold=self.matching.threshold,
            head_threshold=self.matching.head_threshold,
            terms_version=self.space.version,
            classifier_version=self.scorer.version,
            event_time_ms=image.event_time_ms,
            decided_ms=decided_ms,
            override_id=verdict.override_id,
        )

    def _nearest_overlap(self, scored: Scored, row: int, head: int) -> int:
        """Most terms shared with a candidate that represents this cluster."""
        ordinals = scored.ordinals[row][scored.ordinals[row] >= 0]
        inside = (self.corpus.heads_of(ordinals) == head) & ~self.corpus.retired(ordinals)
        return int(scored.overlaps[row][: len(ordinals)][inside].max(initial=0))

    def _record(self, scored: Scored, row: int) -> tuple[Candidate, ...]:
        """The candidates worth keeping with the decision, best first, with the heads they have now."""
        scores, ordinals, overlaps = scored.scores[row], scored.ordinals[row], scored.overlaps[row]
        best = np.lexsort((ordinals, -scores))[:RECORDED_CANDIDATES]
        return tuple(
            Candidate(
                self.corpus.id_of(int(ordinals[c])),
                int(overlaps[c]),
                float(scores[c]),
                self.corpus.id_of(self.corpus.head_of(int(ordinals[c]))),
            )
            for c in best
            if ordinals[c] >= 0 and scores[c] >= RECORDED_SCORE_FLOOR
        )


@contextmanager
def _timed(stage_ms: dict[str, float], stage: str) -> Iterator[None]:
    begun = perf_counter()
    yield
    stage_ms[stage] = stage_ms.get(stage, 0.0) + 1_000 * (perf_counter() - begun)
