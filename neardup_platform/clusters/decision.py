"""The decision rule: join the best-matching cluster whose head agrees, or found a new one.

Pure, one image at a time. Asking the head too keeps clusters from chaining: A~B and B~C alone never bring A
and C together. A cluster that held a match but was not joined is a bridge, for the re-clustering job.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Constraint:
    """What overrides say of an image that is to be decided; clusters by the ordinals of their heads.

    Attributes:
        head: the cluster it joins whatever it matches; its own ordinal for one that stays the head it is.
        alone: it founds a cluster whatever it matches.
        barred: clusters it does not join, each with the override that says so.
        override_id: the override that says `head` or `alone`.
    """

    head: int | None = None
    alone: bool = False
    barred: Mapping[int, str] = field(default_factory=dict)
    override_id: str = ""


FREE = Constraint()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where an image goes.

    Attributes:
        head: ordinal of the head to join, or None to found a cluster.
        score: pair score of the best match in the joined cluster; 0 for a founder.
        head_score: pair score against its head; 1 for a founder.
        bridges: heads of the other clusters that held a match, best first.
        override_id: the override without which it would have gone elsewhere; empty where none acted.
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
            match threshold, in any order. Among equal scores the older match goes first.
        head_score: pair score of the image against a head, asked for at most once per cluster.
        head_threshold: what that score must reach.
        constraint: goes before matches and scores.
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
