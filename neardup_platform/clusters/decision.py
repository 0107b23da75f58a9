"""The decision rule: join the best-matching cluster whose head and members agree, or found a new one.

Pure, one image at a time. Comparing with the head as well keeps clusters from chaining: A~B and B~C alone never put A
and C together. A large cluster is guarded: a head that resembles everything lets it grow into a star, and a chain stays
within reach of its head, so an image must also agree with a share of the members it was compared with. A copy of a
member extends nothing and is not guarded. A merged cluster has several heads, of which one must agree. A cluster in
quarantine admits no new image. A cluster that holds a match and is not joined is a bridge, recorded for re-clustering.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# Members that must agree even where the share asks for fewer, as far as as many were compared.
LEAST_AGREEING = 2


def _no_heads(_head: int) -> Sequence[int]:
    return ()


def _not_in_quarantine(_head: int) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What overrides require of a decision. Clusters are given by the ordinals of their heads.

    Attributes:
        head: the cluster to join, whatever matches; the image's own ordinal if it must stay a head.
        alone: found a cluster, whatever matches.
        barred: clusters not to join, with the override for each.
        override_id: the override behind `head` or `alone`.
        merged_heads: returns the further images of a merged cluster that count as its heads, by ordinal.
        quarantine: returns the override that keeps the image out of a cluster in quarantine, or an empty text.
    """

    head: int | None = None
    alone: bool = False
    barred: Mapping[int, str] = field(default_factory=dict)
    override_id: str = ""
    merged_heads: Callable[[int], Sequence[int]] = _no_heads
    quarantine: Callable[[int], str] = _not_in_quarantine


FREE = Constraint()


@dataclass(frozen=True, slots=True)
class Agreement:
    """How an image compares with the members of a cluster whose head agrees with it.

    Attributes:
        agreed: members, of those compared, that score at least the head threshold with the image.
        compared: members that the image was compared with, the head included, so at least 1.
        size: members of the cluster, whether compared or not.
    """

    agreed: int
    compared: int
    size: int


@dataclass(frozen=True, slots=True)
class Objection:
    """Why an image does not join a cluster that it matches and whose head agrees with it.

    Attributes:
        reason: `CHAIN_SUSPECTED` or `QUARANTINED`.
        agreement: how the image compares with the members.
        override_id: the quarantine; empty for the guard.
    """

    reason: str
    agreement: Agreement
    override_id: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """Which clusters are guarded, and how many of their members must agree with an image that joins.

    Attributes:
        size: members from which on a cluster is guarded; 0 for none.
        share: of the members compared, 0…1; 0 guards no cluster.
    """

    size: int
    share: float

    def watches(self, size: int) -> bool:
        """Return whether a cluster with so many members is guarded."""
        return self.share > 0 and 0 < self.size <= size

    def admits(self, agreement: Agreement) -> bool:
        """Return whether an image with this agreement may join the cluster."""
        agreed, compared = agreement.agreed, agreement.compared
        if not self.watches(agreement.size):
            return True
        return agreed >= min(LEAST_AGREEING, compared) and agreed / compared >= self.share


UNGUARDED = Guard(0, 0.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The cluster that an image goes to.

    Attributes:
        head: ordinal of the head to join; None to found a cluster.
        score: pair score of the best match in the joined cluster; 0 for a founder.
        head_score: pair score against the head of that cluster; 1 for a founder.
        bridges: heads of the other clusters with a match, best first.
        override_id: the override that changed the outcome; empty if none did.
        held_apart: the best cluster that guard or quarantine kept the image out of: its head, and why.
    """

    head: int | None
    score: float
    head_score: float
    bridges: tuple[int, ...]
    override_id: str = ""
    held_apart: tuple[int, Objection] | None = None


def choose_cluster(
    matches: Sequence[tuple[float, int, int]],
    head_score: Callable[[int], float],
    head_threshold: float,
    constraint: Constraint = FREE,
    objection: Callable[[int], Objection | None] = lambda _: None,
) -> Verdict:
    """Apply the rule.

    Args:
        matches: (pair score, ordinal of the match, ordinal of its head) of every candidate at or above the
            match threshold, in any order. Among equal scores the older match wins.
        head_score: returns the pair score of the image against a head, the best one of a merged cluster; called at
            most once per cluster.
        head_threshold: the least score against the head.
        constraint: takes precedence over matches, scores and objections.
        objection: says why the image does not join a cluster, None if it may; called at most once per cluster, by
            ordinal of its head, after that has agreed.
    """
    best: dict[int, float] = {}
    for score, _, head in sorted(matches, key=lambda match: (-match[0], match[1])):
        best.setdefault(head, score)
    if constraint.head is not None:
        others = tuple(head for head in best if head != constraint.head)
        agreed = head_score(constraint.head)
        return Verdict(constraint.head, best.get(constraint.head, 0.0), agreed, others, constraint.override_id)
    if constraint.alone:
        return Verdict(None, 0.0, 1.0, tuple(best), constraint.override_id)
    acted, held_apart = "", None
    for head, score in best.items():
        agreed = head_score(head)
        if agreed < head_threshold:
            continue
        if (objected := objection(head)) is not None:
            held_apart = held_apart or (head, objected)
            acted = acted or objected.override_id
            continue
        if head not in constraint.barred:
            others = tuple(other for other in best if other != head)
            return Verdict(head, score, agreed, others, acted, held_apart)
        acted = acted or constraint.barred[head]
    return Verdict(None, 0.0, 1.0, tuple(best), acted, held_apart)
