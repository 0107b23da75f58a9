"""From joined images to decisions; every caller of `decide.py` uses it.

    images ──add──▶ corpus ──compare──▶ candidates with pair scores ──decide──▶ decisions, members

`decide` runs the three in turn. The worker calls them one by one, to compare the next images while the previous ones
are decided and committed. `preview` answers what would be decided about an image now, and changes nothing. Adapters
are arguments: nothing here imports Kafka, RocksDB or TensorFlow.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from neardup_platform.clusters.decision import FREE, Constraint
from neardup_platform.corpus import Corpus, Ordinals
from neardup_platform.decide import (
    RECORDED,
    Clusters,
    Constraints,
    Evidence,
    Labelling,
    Recording,
    Ruling,
    Unlabelled,
    decide,
    unconstrained,
)
from neardup_platform.head_scores import HeadScores
from neardup_platform.matching import Matcher, Matching, PairScorer, Query, Scored, StageTimes, Thresholds
from neardup_platform.placement import place
from neardup_platform.records import Decision, JoinedImage, Label
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.terms.cascade import View
from neardup_platform.terms.hyperplanes import Hashed, TermSpace
from neardup_platform.terms.index import TermIndex


@dataclass(slots=True)
class Added:
    """Images that are searchable but not decided; row i belongs to image i.

    Attributes:
        view: of the term index, what the images are compared with however late that happens.
    """

    images: Sequence[JoinedImage]
    ordinals: Ordinals
    query: Query
    view: View
    stage_ms: StageTimes


@dataclass(slots=True)
class Decided:
    """Images decided together, and everything the commit writes of them; row i belongs to image i.

    Attributes:
        retired: bool [n], images that leave the index because their cluster has enough representatives.
    """

    images: Sequence[JoinedImage]
    ordinals: Ordinals
    vectors: ImageVectors
    scored: Scored
    retired: NDArray[np.bool_]
    decisions: list[Decision] = field(default_factory=list)
    stage_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be decided about an image now.

    Attributes:
        ruling: where it would go, and its best candidates.
        evidence: its candidates, best first, with their clusters.
        scored: all candidates of the search, one row, nearest first.
        hashed: its signature.
        matching: the limits applied.
        thresholds: applied, those of an image with the whole corpus before it.
        undistinctive: whether the image is.
        images: in the corpus.
        stage_ms: time of `terms`, `search`, `score` and `decide`.
    """

    ruling: Ruling
    evidence: Evidence
    scored: Scored
    hashed: Hashed
    matching: Matching
    thresholds: Thresholds
    undistinctive: bool
    images: int
    stage_ms: StageTimes


class Pipeline:
    """Decides micro-batches against a corpus, which grows by them.

    The result does not depend on how a sequence of images is cut into batches: image i is compared with every
    image before it, those of its own batch included, and its thresholds are those of a corpus of i images, those
    counted that were forgotten or embedded again.

    Attributes:
        space: hashes `lsh` vectors.
        corpus: the images to compare with: those decided, and those added and not decided yet.
        labels: of the clusters, for the decisions about images that are put there.
    """

    def __init__(self, space: TermSpace, scorer: PairScorer, corpus: Corpus, matching: Matching) -> None:
        self.space = space
        self.corpus = corpus
        self.labels: Labelling = Unlabelled()
        self._matcher = Matcher(scorer, matching)

    @property
    def scorer(self) -> PairScorer:
        """The active classifier."""
        return self._matcher.scorer

    @property
    def matching(self) -> Matching:
        """The limits and thresholds that apply with it."""
        return self._matcher.matching

    def use_classifier(self, scorer: PairScorer, matching: Matching) -> None:
        """Replaces the classifier and its thresholds for whatever is compared next."""
        self._matcher = Matcher(scorer, matching)

    def use_index(self, index: TermIndex) -> None:
        """Replaces the term index by one of the same images and terms; closes the present one."""
        self.corpus.use_index(index)
        self.space = index.space

    def decide(
        self,
        images: Sequence[JoinedImage],
        first_sequence: int,
        decided_ms: int,
        constraints: Constraints = unconstrained,
    ) -> list[Decided]:
        """Decides images in the order given.

        Args:
            images: none decided before.
            first_sequence: of the first image; the others count up from it.
            decided_ms: the clock, Unix milliseconds.
            constraints: what overrides demand.

        Returns:
            The images in micro-batches, which end where a block of the index does.
        """
        compared = ((added, self.compare(added)) for added in map(self.add, self.split(images)))
        return self.decide_compared(compared, first_sequence, decided_ms, constraints)

    def split(self, images: Sequence[JoinedImage]) -> Iterator[Sequence[JoinedImage]]:
        """Splits images into parts that can be added and compared as one; add each before asking for the next."""
        while images:
            room = self.corpus.index.room
            yield images[:room]
            images = images[room:]

    def add(self, images: Sequence[JoinedImage]) -> Added:
        """Adds images to the corpus, where later ones find them at once."""
        times = StageTimes()
        lsh = np.stack([image.lsh.vector for image in images]).astype(np.float16)
        pair = np.stack([image.pair.vector for image in images]).astype(np.float16)
        query = self._query(ImageVectors(lsh, pair), times)
        ordinals = self.corpus.add([image.image_id for image in images], *query)
        return Added(images, ordinals, query, self.corpus.index.view(), times)

    def compare(self, added: Added) -> Scored:
        """Compares images with all before them.

        Reads nothing that deciding changes, so a thread may compare while earlier images are decided.
        """
        return self._matcher.match(self.corpus, added.query, added.stage_ms, added.ordinals, added.view)

    def decide_compared(
        self,
        compared: Iterable[tuple[Added, Scored]],
        first_sequence: int,
        decided_ms: int,
        constraints: Constraints = unconstrained,
    ) -> list[Decided]:
        """Decides images that were added and compared, in the order of adding; other arguments as of `decide`.

        Args:
            compared: the images of one step; none of them, and all images before them, are stored.
        """
        batches: list[Decided] = []
        in_flight: dict[str, int] = {}

        def constraint_of(image_id: str) -> Constraint:
            return constraints(image_id, in_flight)

        for added, scored in compared:
            in_flight |= zip((image.image_id for image in added.images), added.ordinals.tolist(), strict=True)
            batches.append(self._decide_part(added, scored, first_sequence, decided_ms, constraint_of))
            first_sequence += len(added.images)
        return batches

    def preview(
        self,
        vectors: ImageVectors,
        *,
        ordinal: int | None = None,
        clusters: Clusters | None = None,
        constraint: Constraint = FREE,
        matches_only: bool = False,
        recording: Recording = RECORDED,
    ) -> Preview:
        """Answers what would be decided about one image now; changes nothing.

        Args:
            vectors: of the image, one row.
            ordinal: of the image where the corpus holds it: it is no candidate of itself, and agrees with the cluster
                that it heads.
            clusters: where images are at present; None asks the corpus.
            constraint: what overrides demand of the image.
            matches_only: records no candidate below the match threshold, and looks up their clusters only where a
                guarded cluster holds a match.
            recording: which candidates to record.
        """
        clusters, times, matcher = clusters or self.corpus, StageTimes(), self._matcher
        query = self._query(vectors, times)
        if ordinal is None:
            scored = matcher.match(self.corpus, query, times)
        else:
            scored = matcher.match_others(self.corpus, query, ordinal, times)

        def head_score(head: int) -> float:
            return 1.0 if head == ordinal else matcher.pair_score(vectors, 0, clusters.vectors_of(head), 0)

        with times.measure("decide"):
            undistinctive = bool(scored.undistinctive[0])
            thresholds = matcher.matching.thresholds(len(self.corpus), undistinctive=undistinctive)
            least = thresholds.match if matches_only else 0.0
            evidence = Evidence.of(scored, 0, clusters, least, recording.floor)
            if matches_only:
                recording = Recording(recording.most, max(recording.floor, thresholds.match))
                if any(thresholds.guard.watches(clusters.size_of(head)) for head in evidence.known_heads):
                    evidence = Evidence.of(scored, 0, clusters)
            ruling = decide(evidence, thresholds, head_score, clusters, constraint, recording)
        return Preview(
            ruling, evidence, scored, query.hashed, matcher.matching, thresholds, undistinctive, len(self.corpus), times
        )

    def pair_score(self, one: int, other: int) -> float:
        """Returns the pair score of two images of the corpus, by ordinal."""
        rows = self.corpus.vectors.rows
        return self._matcher.pair_score(rows, one, rows, other)

    def _query(self, vectors: ImageVectors, times: StageTimes) -> Query:
        with times.measure("terms"):
            return Query(vectors, self.space.hash(vectors.lsh.astype(np.float32)))

    def _decide_part(
        self,
        added: Added,
        scored: Scored,
        first_sequence: int,
        decided_ms: int,
        constraint_of: Callable[[str], Constraint],
    ) -> Decided:
        vectors, corpus, times = added.query.vectors, self.corpus, added.stage_ms
        with times.measure("decide"):
            images = zip(added.ordinals.tolist(), scored.undistinctive.tolist(), strict=True)
            thresholds = [self.matching.thresholds(before, undistinctive=each) for before, each in images]
            head_scores = HeadScores(self._matcher, corpus, vectors, scored, thresholds)
            matched = self.labels.matching([image.pdq for image in added.images])
            decisions = []
            for row, image in enumerate(added.images):
                ruling = decide(
                    Evidence.of(scored, row, corpus),
                    thresholds[row],
                    partial(head_scores.of, row),
                    corpus,
                    constraint_of(image.image_id),
                )
                place(corpus, int(added.ordinals[row]), ruling, scored, row, self.matching.max_representatives)
                sequence = first_sequence + row
                labels = self.labels(image.image_id, int(added.ordinals[row]), ruling.head, matched[row])
                decisions.append(
                    self._decision(added, scored, row, thresholds[row], ruling, labels, sequence, decided_ms)
                )
            retired = corpus.retired(added.ordinals)
            corpus.index.retire(added.ordinals[retired])
        return Decided(added.images, added.ordinals, vectors, scored, retired, decisions, times)

    def _decision(
        self,
        added: Added,
        scored: Scored,
        row: int,
        thresholds: Thresholds,
        ruling: Ruling,
        labels: tuple[Label, ...],
        sequence: int,
        decided_ms: int,
    ) -> Decision:
        image = added.images[row]
        return Decision(
            sequence=sequence,
            image_id=image.image_id,
            head=ruling.head_id or image.image_id,
            score=ruling.score,
            head_score=ruling.head_score,
            candidates=ruling.candidates,
            candidates_found=int((scored.ordinals[row] >= 0).sum()),
            bridges=ruling.bridges,
            threshold=thresholds.match,
            head_threshold=thresholds.head,
            terms_version=self.space.version,
            classifier_version=self.scorer.version,
            event_time_ms=image.event_time_ms,
            decided_ms=decided_ms,
            override_id=ruling.override_id,
            guard=ruling.guard,
            undistinctive=bool(scored.undistinctive[row]),
            corpus_images=int(added.ordinals[row]),
            labels=labels,
        )
