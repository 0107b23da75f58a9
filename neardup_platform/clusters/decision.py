"""The decision rule: join the best-matching cluster whose head agrees, or found a new one.

Pure, one image at a time. Asking the head too keeps clusters from chaining: A~B and B~C alone never bring A
and C together. A cluster that held a match but was not joined is a bridge, for the re-clustering job.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where an image goes.

    Attributes:
        head: ordinal of the head to join, or None to found a cluster.
        score: pair score of the best match in the joined cluster; 0 for a founder.
        head_score: pair score against its head; 1 for a founder.
        bridges: heads of the other clusters that held a match, best first.
    """

    head: int | None
    score: float
    head_score: float
    bridges: tuple[int, ...]


def choose_cluster(
    matches: Sequence[tuple[float, int, int]],
    head_score: Callable[[int], float],
    head_threshold: float,
) -> Verdict:
    """Apply the rule.

    Args:
        matches: (pair score, ordinal of the match, ordinal of its head) of every candidate at or above the
            match threshold, in any order. Among equal scores the older match goes first.
        head_score: pair score of the image against a head, asked for at most once per cluster.
        head_threshold: what that score must reach.
    """
    best: dict[int, float] = {}
    for score, _, head in sorted(matches, key=lambda match: (-match[0], match[1])):
        best.setdefault(head, score)
    for head, score in best.items():
        agreed = head_score(head)
        if agreed >= head_threshold:
            return Verdict(head, score, agreed, tuple(other for other in best if other != head))
    return Verdict(None, 0.0, 1.0, tuple(best))
