"""Search and score: the candidates of images, each with its calibrated probability of being a near-duplicate.

Vectors and signatures → search → score → **candidates with pair scores**. Nothing here changes the corpus, so any
number of threads may match while images are added and decided.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.clusters.decision import UNGUARDED, Guard
from neardup_platform.corpus import Corpus, Ordinals
from neardup_platform.scoring.match_kinds import Judged
from neardup_platform.scoring.threshold_table import ThresholdTable
from neardup_platform.scoring.vectors import ImageVectors, VectorRows
from neardup_platform.settings import ScoringSettings, Settings, TermSettings
from neardup_platform.terms.candidates import Candidates
from neardup_platform.terms.cascade import View
from neardup_platform.terms.equal_terms import EqualTerms
from neardup_platform.terms.hyperplanes import Hashed

# Lower-scored candidates are only counted in decisions.
RECORDED_SCORE_FLOOR = 0.01
DEFAULT_GUARD = Guard(ScoringSettings().guarded_size, ScoringSettings().guard_share)


class OverlapSource(Protocol):
    """Equal terms of images with their candidates."""

    @property
    def tables(self) -> int:
        """Terms of an image."""

    def of(self, row: int, ordinals: Ordinals, /) -> NDArray[np.uint8]:
        """Returns how many terms of one image are equal to those of candidates, uint8 [m]."""


class ThresholdSource(Protocol):
    """What a classifier says about thresholds; its card knows it without the network."""

    @property
    def threshold(self) -> float:
        """Pair score of a match in a small corpus, unless the settings give another."""

    @property
    def head_threshold(self) -> float:
        """Pair score required against the head in a small corpus, unless the settings give another."""

    @property
    def threshold_table(self) -> ThresholdTable | None:
        """The two by distinctiveness and corpus size; None if they are the same everywhere."""

    @property
    def passed_over(self) -> float | None:
        """Score of candidates that are not the best ones of their image and were not looked at; None if all are."""


class PairScorer(ThresholdSource, Protocol):
    """What the pipeline needs of a pair classifier."""

    @property
    def version(self) -> str:
        """Names the classifier in every decision."""

    @property
    def sketch(self) -> slice:
        """Which entries of the pair vector are the sketch; an empty slice if none are."""

    def explain(self, a: VectorRows, row_a: int, b: VectorRows, row_b: int) -> tuple[float, dict[str, float]]:
        """Returns the first score of a pair, and what each piece of evidence adds to the logit of its score."""

    def score(self, a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> NDArray[np.float32]:
        """Returns calibrated probabilities, float32 [n], for pairs of a row of `a` and a row of `b`, int64 [n] each."""

    def undistinctive(self, vectors: ImageVectors) -> NDArray[np.bool_]:
        """Returns which images are undistinctive, bool [n]; each one's depends on its vectors alone."""

    def judge(self, a: VectorRows, rows_a: Ordinals, b: VectorRows, rows_b: Ordinals) -> Judged:
        """Returns the same scores, and the match kinds."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a decision requires.

    Attributes:
        match: pair score of a match.
        head: pair score of the image with the head of the cluster it joins, and with its members if it is guarded.
        guard: which clusters are guarded, and how many of their members must agree.
        passed_over: score of candidates that were not looked at, so that they neither agree nor disagree.
    """

    match: float
    head: float
    guard: Guard = UNGUARDED
    passed_over: float | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """How candidates are found and judged.

    Attributes:
        max_candidates: K of the search.
        min_overlap: equal terms a candidate needs.
        threshold: pair score of a match in a small corpus.
        head_threshold: pair score required against the head, likewise.
        max_representatives: members of a cluster that the index holds.
        guard: which clusters are guarded, and how many of their members must agree.
        passed_over: see `PairScorer`.
        table: thresholds by distinctiveness and corpus size; None if the two above hold everywhere.
    """

    max_candidates: int
    min_overlap: int
    threshold: float
    head_threshold: float
    max_representatives: int = TermSettings().max_representatives
    guard: Guard = DEFAULT_GUARD
    passed_over: float | None = None
    table: ThresholdTable | None = None

    @classmethod
    def of(cls, settings: Settings, scorer: ThresholdSource) -> "Matching":
        """Takes thresholds from the settings where given, otherwise those stored with the classifier.

        Thresholds of the settings hold for every image in a corpus of any size.
        """
        given = settings.scoring.threshold, settings.scoring.head_threshold
        return cls(
            settings.terms.max_candidates,
            settings.terms.min_overlap,
            settings.scoring.threshold or scorer.threshold,
            settings.scoring.head_threshold or scorer.head_threshold,
            settings.terms.max_representatives,
            Guard(settings.scoring.guarded_size, settings.scoring.guard_share),
            scorer.passed_over,
            scorer.threshold_table if given == (None, None) else None,
        )

    def thresholds(self, images: int, *, undistinctive: bool) -> Thresholds:
        """What the decision of an image requires.

        Args:
            images: in the corpus before it.
            undistinctive: whether it is.
        """
        match, head = self.threshold, self.head_threshold
        if self.table is not None:
            found = self.table.at(images, undistinctive=undistinctive)
            match, head = found.match, found.head
        return Thresholds(match, head, self.guard, self.passed_over)


class StageTimes(dict[str, float]):
    """Milliseconds spent in each stage, by its name."""

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Adds the time of the block to a stage."""
        begun = perf_counter()
        yield
        self[stage] = self.get(stage, 0.0) + 1_000 * (perf_counter() - begun)


class Query(NamedTuple):
    """Images to find candidates for: their vectors, and the signatures of their `lsh` vectors."""

    vectors: ImageVectors
    hashed: Hashed


@dataclass(frozen=True, slots=True)
class Scored:
    """Candidates with their pair scores, nearest first, all [n, K]; ordinal −1 and score 0 pad a row.

    Attributes:
        ordinals: int64.
        equal_terms: how many each image has in common with candidates.
        scores: float32, 0…1.
        examined: int64 [n], images that the search compared with each query.
        undistinctive: bool [n], which of the images that the candidates were found for are.
        kinds: uint8, positions in `KIND_NAMES`.
    """

    ordinals: Ordinals
    equal_terms: OverlapSource
    scores: NDArray[np.float32]
    examined: NDArray[np.int64]
    undistinctive: NDArray[np.bool_]
    kinds: NDArray[np.uint8]

    def score_of(self, row: int, ordinal: int) -> float | None:
        """Returns the pair score of an image with a candidate; None where it is not one."""
        columns = np.flatnonzero(self.ordinals[row] == ordinal)
        return float(self.scores[row, columns[0]]) if len(columns) else None

    def overlaps(self, row: int, columns: Ordinals, floor: float = RECORDED_SCORE_FLOOR) -> NDArray[np.uint8]:
        """Returns the equal terms of an image with its candidates, uint8 [m]; 0 for scores below the floor.

        Args:
            row: of the image.
            columns: int64 [m], of the candidates.
            floor: see above.
        """
        wanted = self.scores[row, columns] >= floor
        found = np.zeros(len(columns), np.uint8)
        found[wanted] = self.equal_terms.of(row, self.ordinals[row, columns[wanted]])
        return found

    def without(self, ordinal: int) -> "Scored":
        """Returns the candidates of one image but for this one."""
        keep = np.flatnonzero(self.ordinals[0] != ordinal)
        ordinals, scores, kinds = self.ordinals[:, keep], self.scores[:, keep], self.kinds[:, keep]
        return Scored(ordinals, self.equal_terms, scores, self.examined, self.undistinctive, kinds)


@dataclass(frozen=True, slots=True)
class Matcher:
    """A classifier with the limits and thresholds that apply with it; both change as one."""

    scorer: PairScorer
    matching: Matching

    def match(
        self, corpus: Corpus, query: Query, times: StageTimes, before: Ordinals | None = None, view: View | None = None
    ) -> Scored:
        """Searches the corpus and scores what is found.

        Args:
            corpus: holds the candidates.
            query: n images.
            times: receives the time of `search` and `score`.
            before: int64 [n], finds only images of smaller ordinals; None finds all.
            view: of the term index; None takes the present one.
        """
        with times.measure("search"):
            found = corpus.search(query.hashed, self.matching.max_candidates, self.matching.min_overlap, before, view)
        return self._scored(corpus, query, found, times)

    def match_others(self, corpus: Corpus, query: Query, ordinal: int, times: StageTimes) -> Scored:
        """Matches one image of the corpus with all others, later ones included; other arguments as of `match`."""
        most = self.matching.max_candidates
        with times.measure("search"):
            found = corpus.search(query.hashed, most + 1, self.matching.min_overlap)
        return self._scored(corpus, query, found.without(ordinal, most), times)

    def pair_score(self, vectors: VectorRows, row: int, others: VectorRows, other_row: int) -> float:
        """Scores one pair of rows."""
        return float(self.scorer.score(vectors, np.array([row]), others, np.array([other_row]))[0])

    def _scored(self, corpus: Corpus, query: Query, found: Candidates, times: StageTimes) -> Scored:
        with times.measure("score"):
            rows, columns = np.nonzero(found.ordinals >= 0)
            ordinals = found.ordinals[rows, columns]
            scores, kinds = np.zeros(found.ordinals.shape, np.float32), np.zeros(found.ordinals.shape, np.uint8)
            judged = self.scorer.judge(query.vectors, rows, corpus.vectors.rows, ordinals)
            scores[rows, columns], kinds[rows, columns] = judged
            undistinctive = self.scorer.undistinctive(query.vectors)
            recorded = ordinals[judged.scores >= RECORDED_SCORE_FLOOR]
            equal_terms = EqualTerms(corpus.space, query.hashed.signatures, corpus.lsh_of, recorded)
        return Scored(found.ordinals, equal_terms, scores, found.examined, undistinctive, kinds)
