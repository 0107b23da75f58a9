"""The decide path: matches → constraint → verdict → record, one function for everyone who decides.

| caller | candidates come from | clusters come from | the ruling becomes |
|---|---|---|---|
| new images, wherever they come from: `Pipeline.decide` | search and score | the corpus | a decision and a new member |
| re-embedded image: `stream/corrections` | search and score | the corpus | a decision that may move it |
| override: `stream/corrections` | the recorded decision | the store | a decision that moves it |
| trace: `Pipeline.preview` | search and score | the corpus | an answer |
| search by example: `Pipeline.preview` | search and score | the store, as of now | an answer |

Pure: values in, values out; only `head_score` may score a pair. The rule itself is `clusters/decision.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.clusters.decision import FREE, Agreement, Constraint, Objection, choose_cluster
from neardup_platform.corpus import Ordinals
from neardup_platform.matching import RECORDED_SCORE_FLOOR, Scored, Thresholds
from neardup_platform.records import (
    CHAIN_SUSPECTED,
    KIND_NAMES,
    QUARANTINED,
    Candidate,
    Cause,
    Decision,
    HeldApart,
    Label,
    PdqHash,
)
from neardup_platform.scoring.vectors import ImageVectors

# A decision records its candidates down to `RECORDED_SCORE_FLOOR`, so that any threshold above it can be applied later.
RECORDED_CANDIDATES = 64
# Head of a candidate that is in no cluster: it is neither a match nor recorded.
NO_HEAD = -1


class Clusters(Protocol):
    """Which clusters images are in at present: the corpus of the deciding process, or the store it follows."""

    def heads_of(self, ordinals: Ordinals) -> Ordinals:
        """Returns the ordinals of the images' heads, int64 [n]; `NO_HEAD` for an image that is no longer there."""

    def id_of(self, ordinal: int) -> str:
        """Returns the id of an image, or of a head that `heads_of` returned."""

    def size_of(self, head: int) -> int:
        """Returns the number of members of such a head's cluster."""

    def vectors_of(self, ordinal: int) -> ImageVectors:
        """Returns both vectors of such an image, one row each."""


class Constraints(Protocol):
    """What overrides demand of images that are about to be decided."""

    def __call__(self, image_id: str, in_flight: Mapping[str, int], /) -> Constraint:
        """Returns what is demanded of one image.

        Args:
            in_flight: ordinals, by id, of the images decided in the same step, which are not stored yet.
        """


class Labelling(Protocol):
    """Which labels images have: by their own hashes, and because of the clusters that they are put into."""

    def matching(self, hashes: Sequence[PdqHash | None], /) -> Sequence[Sequence[Label]]:
        """Returns the labels of banks whose hashes the pictures match, without the ids of the images."""

    def __call__(
        self, image_id: str, ordinal: int, head: int | None, matched: Sequence[Label] = (), /
    ) -> tuple[Label, ...]:
        """Returns the labels of a decision.

        Args:
            ordinal: of the image, which need not be stored yet.
            head: ordinal of the head of the cluster that it joins; None if it founds one.
            matched: what `matching` returned for a picture that is new.
        """


class Unlabelled:
    """Labels nothing; see `Labelling`."""

    def matching(self, hashes: Sequence[PdqHash | None], /) -> Sequence[Sequence[Label]]:
        """Matches nothing."""
        return [()] * len(hashes)

    def __call__(
        self, _image_id: str, _ordinal: int, _head: int | None, _matched: Sequence[Label] = (), /
    ) -> tuple[Label, ...]:
        """Labels nothing."""
        return ()


def unconstrained(_image_id: str, _in_flight: Mapping[str, int], /) -> Constraint:
    """Demands nothing."""
    return FREE


@dataclass(frozen=True, slots=True)
class Evidence:
    """The scored candidates of one image, best first: by score, the older image first among equals.

    Attributes:
        ordinals: int64 [n].
        overlaps: uint8 [n], equal terms.
        scores: float32 [n], pair scores.
        heads: int64 [n], the clusters they are in at present; `NO_HEAD` for none.
        equal: bool [n], whether all terms are equal, as those of copies of one file are.
        kinds: uint8 [n], positions in `KIND_NAMES`.
        leaving: the cluster that the image is about to leave; its members are recorded, but are no matches.
    """

    ordinals: Ordinals
    overlaps: NDArray[np.uint8]
    scores: NDArray[np.float32]
    heads: Ordinals
    equal: NDArray[np.bool_]
    kinds: NDArray[np.uint8]
    leaving: int = NO_HEAD

    @classmethod
    def of(
        cls,
        scored: Scored,
        row: int,
        clusters: Clusters,
        min_score: float = 0.0,
        floor: float = RECORDED_SCORE_FLOOR,
    ) -> "Evidence":
        """Sorts the candidates of one row and looks up their clusters.

        Args:
            min_score: candidates with lower scores are left out.
            floor: of those with lower scores no terms are compared: they have none in common.
        """
        ordinals, scores = scored.ordinals[row], scored.scores[row]
        best = np.lexsort((ordinals, -scores))
        best = best[(ordinals[best] >= 0) & (scores[best] >= min_score)]
        heads, overlaps = clusters.heads_of(ordinals[best]), scored.overlaps(row, best, floor)
        equal = overlaps == scored.equal_terms.tables
        return cls(ordinals[best], overlaps, scores[best], heads, equal, scored.kinds[row][best])

    @property
    def known_heads(self) -> list[int]:
        """The heads of the clusters that hold a candidate."""
        return [int(head) for head in np.unique(self.heads) if head != NO_HEAD]

    def matches(self, threshold: float) -> list[tuple[float, int, int]]:
        """Returns (pair score, ordinal, head) of every candidate at or above the threshold, best first."""
        chosen = (self.scores >= threshold) & (self.heads != NO_HEAD) & (self.heads != self.leaving)
        columns = (column[chosen].tolist() for column in (self.scores, self.ordinals, self.heads))
        return list(zip(*columns, strict=True))

    def has_copy(self, head: int, threshold: float) -> bool:
        """Returns whether a cluster holds a match with equal terms."""
        return bool(((self.heads == head) & self.equal & (self.scores >= threshold)).any())

    def agreement(self, head: int, thresholds: Thresholds, size: int) -> Agreement:
        """Returns how the image compares with the members of a cluster of this size, whose head agrees with it."""
        inside, threshold = self.heads == head, thresholds.head
        if thresholds.passed_over is not None:
            inside &= self.scores != np.float32(thresholds.passed_over)
        compared, agreed = np.count_nonzero(inside), np.count_nonzero(inside & (self.scores >= threshold))
        apart = not (self.ordinals[inside] == head).any()  # The head was compared on its own, and agreed.
        return Agreement(int(agreed) + apart, int(compared) + apart, size)

    def record(self, id_of: Callable[[int], str], most: int, floor: float) -> tuple[Candidate, ...]:
        """Returns the best candidates with the ids of their clusters: at most `most`, none below `floor`."""
        count = min(most, int(np.count_nonzero(self.scores >= floor)))
        recorded = self.ordinals, self.overlaps, self.scores, self.heads, self.kinds
        columns = (column[:count].tolist() for column in recorded)
        return tuple(
            Candidate(id_of(ordinal), overlap, score, id_of(head), KIND_NAMES[kind])
            for ordinal, overlap, score, head, kind in zip(*columns, strict=True)
            if head != NO_HEAD
        )


@dataclass(frozen=True, slots=True)
class Recording:
    """How many candidates a ruling records, and down to which score."""

    most: int = RECORDED_CANDIDATES
    floor: float = RECORDED_SCORE_FLOOR


RECORDED = Recording()


@dataclass(frozen=True, slots=True)
class Ruling:
    """Where an image belongs, and why.

    Attributes:
        head: ordinal of the head of the cluster to join; None to found one.
        head_id: its image id, likewise.
        score: pair score of the best match in that cluster; 0 for a founder.
        head_score: pair score against its head; 1 for a founder.
        matches: candidates at or above the match threshold.
        candidates: the best candidates, with the clusters they are in.
        bridges: ids of the heads of the other clusters that hold a match, best first.
        override_id: the override without which the image would go elsewhere; empty where none acted.
        guard: the cluster that the image is held apart from, the best of them; None where there is none.
    """

    head: int | None
    head_id: str | None
    score: float
    head_score: float
    matches: int
    candidates: tuple[Candidate, ...]
    bridges: tuple[str, ...]
    override_id: str
    guard: HeldApart | None = None


def decide(
    evidence: Evidence,
    thresholds: Thresholds,
    head_score: Callable[[int], float],
    clusters: Clusters,
    constraint: Constraint = FREE,
    recording: Recording = RECORDED,
) -> Ruling:
    """Decides one image.

    Args:
        evidence: its candidates.
        thresholds: apply to their scores and to `head_score`.
        head_score: scores the image against a head, by ordinal; called at most once per head.
        clusters: names the images and gives the sizes of their clusters.
        constraint: what overrides demand of the image; takes precedence over scores and the guard.
        recording: which candidates to record.
    """

    def best_head_score(head: int) -> float:
        score = head_score(head)
        for other in constraint.merged_heads(head) if score < thresholds.head else ():
            score = max(score, head_score(other))
        return score

    def objection(head: int) -> Objection | None:
        size = clusters.size_of(head)
        if override_id := constraint.quarantine(head):
            return Objection(QUARANTINED, evidence.agreement(head, thresholds, size), override_id)
        if not thresholds.guard.watches(size) or evidence.has_copy(head, thresholds.match):
            return None
        agreement = evidence.agreement(head, thresholds, size)
        return None if thresholds.guard.admits(agreement) else Objection(CHAIN_SUSPECTED, agreement)

    matches = evidence.matches(thresholds.match)
    verdict = choose_cluster(matches, best_head_score, thresholds.head, constraint, objection)
    id_of = clusters.id_of
    return Ruling(
        head=verdict.head,
        head_id=None if verdict.head is None else id_of(verdict.head),
        score=verdict.score,
        head_score=verdict.head_score,
        matches=len(matches),
        candidates=evidence.record(id_of, recording.most, recording.floor),
        bridges=tuple(id_of(head) for head in verdict.bridges),
        override_id=verdict.override_id,
        guard=None if verdict.held_apart is None else _held_apart(*verdict.held_apart, id_of),
    )


def decided_again(recorded: Decision, ruling: Ruling, cause: Cause, now_ms: int) -> Decision:
    """Returns the decision about a stored image by a new ruling; the caller numbers it.

    Args:
        recorded: the current one, with the candidates, thresholds and versions that the ruling is by.
        now_ms: the clock, Unix milliseconds.
    """
    return replace(
        recorded,
        sequence=0,
        head=ruling.head_id or recorded.image_id,
        score=ruling.score,
        head_score=ruling.head_score,
        candidates=ruling.candidates,
        bridges=ruling.bridges,
        decided_ms=now_ms,
        cause=cause,
        override_id=ruling.override_id,
        replaced_head="",
        guard=ruling.guard,
    )


def _held_apart(head: int, objection: Objection, id_of: Callable[[int], str]) -> HeldApart:
    agreement = objection.agreement
    return HeldApart(objection.reason, id_of(head), agreement.agreed, agreement.compared, agreement.size)
