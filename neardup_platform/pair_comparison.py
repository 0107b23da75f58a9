"""Two images compared: their pair score, what it is made of, and where the pictures agree.

Vectors of two images → score, terms, overlap → **comparison** → `neardup compare`, `POST /v1/pairs`, explanations.
Nothing is decided and nothing changes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from neardup_platform.matching import Matching, PairScorer
from neardup_platform.records import KIND_NAMES
from neardup_platform.scoring.second_look import comes_first
from neardup_platform.scoring.vectors import Float16, ImageVectors
from neardup_platform.structure.agreement import LEAST_SIDE
from neardup_platform.structure.overlap import Overlap, overlap_of
from neardup_platform.structure.sketch import decode_sketch

NO_SKETCHES = "the embeddings carry no sketch: those of the built-in models do"
NO_SKETCH = "the vectors of an image carry no sketch, or one of fewer than 8 cells a side"
NO_TEXTURE = "a picture has too little texture to be laid over the other"


@dataclass(frozen=True, slots=True)
class Structure:
    """Where two pictures agree, or why that cannot be told.

    Attributes:
        overlap: None if it is not available.
        reason: why not; empty if it is available.
    """

    overlap: Overlap | None
    reason: str = ""

    @property
    def state(self) -> str:
        """`available` or `not available`."""
        return "not available" if self.overlap is None else "available"


class Term(NamedTuple):
    """What a piece of evidence adds to the logit of a score."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class PairComparison:
    """What is known about two images, a and b.

    Attributes:
        score: pair score, 0…1.
        first_score: of the images as wholes, before the second look.
        threshold, head_threshold: pair scores of a match, and required against the head of a cluster, for images that
            are decided now.
        classifier_version: of the classifier.
        terms: of the second look, largest first; empty where the first score stands.
        structure: where the pictures agree.
        undistinctive: whether a and b are plain or resemble much else, so that they need a higher score to match.
        kind: match kind; empty where none is claimed.
    """

    score: float
    first_score: float
    threshold: float
    head_threshold: float
    classifier_version: str
    terms: tuple[Term, ...]
    structure: Structure
    undistinctive: tuple[bool, bool]
    kind: str

    @property
    def match(self) -> bool:
        """Whether the score is that of a match."""
        return self.score >= self.threshold

    @property
    def head_match(self) -> bool:
        """Whether the score suffices against the head of a cluster."""
        return self.score >= self.head_threshold


def compare_vectors(scorer: PairScorer, matching: Matching, vectors: ImageVectors, images: int = 0) -> PairComparison:
    """Compares two images by their vectors.

    Args:
        scorer: the classifier.
        matching: the thresholds that apply with it.
        vectors: of a and b, one row each, of finite values.
        images: in the corpus; the larger it is, the higher are the thresholds.

    Raises:
        BadArtefact: the dimensions are not those the classifier was trained on.
    """
    first_score, terms = scorer.explain(vectors, 0, vectors, 1)
    a, b = scorer.undistinctive(vectors).tolist()
    thresholds = matching.thresholds(images, undistinctive=a or b)
    judged = scorer.judge(vectors, np.array([0]), vectors, np.array([1]))
    return PairComparison(
        float(judged.scores[0]),
        first_score,
        thresholds.match,
        thresholds.head,
        scorer.version,
        tuple(sorted(map(Term._make, terms.items()), key=lambda term: -abs(term.value))),
        structure_of_pair(vectors.pair[0], vectors.pair[1], scorer.sketch),
        (a, b),
        KIND_NAMES[judged.kinds[0]],
    )


def structure_of_pair(a: Float16, b: Float16, sketch: slice) -> Structure:
    """Says where two pictures agree.

    Args:
        a, b: float16 [pair_dim], their pair vectors.
        sketch: which entries are the sketch.
    """
    if sketch.start == sketch.stop:
        return Structure(None, NO_SKETCHES)
    one, other = a[sketch], b[sketch]
    sketches = decode_sketch(one), decode_sketch(other)
    if any(min(each.grey.shape) < LEAST_SIDE for each in sketches):
        return Structure(None, NO_SKETCH)
    overlap = overlap_of(*sketches, from_b=not comes_first(one, other))
    return Structure(overlap, "" if overlap is not None else NO_TEXTURE)
