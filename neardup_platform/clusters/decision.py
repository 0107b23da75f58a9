"""The decision rule: join the best-matching cluster whose head matches too, or found a new one.

Pure, one image at a time. Comparing with the head as well keeps clusters from chaining: A~B and B~C alone never put A
and C together. A cluster that holds a match and is not joined is a bridge, recorded for re-clustering.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Constraint:
    """What overrides require of a decision. Clusters are given by the ordinals of their heads.

    Attributes:
        head: the cluster to join, whatever matches; the image's own ordinal if it must stay a head.
        alone: found a cluster, whatever matches.
        barred: clusters not to join, with the override for each.
        override_id: the override behind `head` or `alone`.
    """

    head: int | None = None
    alone: bool = False
    barred: Mapping[int, str] = field(default_factory=dict)
    override_id: str = ""


FREE = Constraint()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The cluster that an image goes to.

    Attributes:
        head: ordinal of the head to join; None to found a cluster.
        score: pair score of the best match in the joined cluster; 0 for a founder.
        head_score: pair score against the head of that cluster; 1 for a founder.
        bridges: heads of the other clusters with a match, best first.
        override_id: the override that changed the outcome; empty if none did.
    """

    head: int | None
    score: float
    head_score: float
    bridges: tuple[int, ...]
    override_id: str = ""


def choose_cluster(
    matches: Sequence[tuple[float, int, int]],
    head_score: Callable[[int], float],
    head_threshold: float,
    constraint: Constraint = FREE,
) -> Verdict:
    """Apply the rule.

    Args:
        matches: (pair score, ordinal of the match, ordinal of its head) of every candidate at or above the
            match threshold, in any order. Among equal scores the older match wins.
        head_score: returns the pair score of the image against a head; called at most once per cluster.
        head_threshold: the least score against the head.
        constraint: takes precedence over matches and scores.
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
    acted = ""
    for head, score in best.items():
        agreed = head_score(head)
        if agreed < head_threshold:
            continue
        if head not in constraint.barred:
            return Verdict(head, score, agreed, tuple(other for other in best if other != head), acted)
        acted = acted or constraint.barred[head]
    return Verdict(None, 0.0, 1.0, tuple(best), acted)
