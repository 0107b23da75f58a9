"""One trial: what a rule would change against the rule that was in use, in numbers and examples. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.what_if.head_changes import HeadChanges, head_changes
from neardup_platform.what_if.labelled import LabelCounts, LabelledPairs, count_labels
from neardup_platform.what_if.recorded import Nodes, Recorded
from neardup_platform.what_if.replay import Clusters, Evidence, Rule, replay

# Examples of each kind of change.
MOST_EXAMPLES = 8
CHANGES = ("joined", "founded", "moved")
# Match thresholds that a report is plotted over.
THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99)


@dataclass(frozen=True, slots=True)
class Trial:
    """A rule tried on the records.

    Attributes:
        clusters: where every node is.
        changes: of the images, against the rule that was in use.
        labels: of the labelled pairs, without overrides.
    """

    clusters: Clusters
    changes: HeadChanges
    labels: LabelCounts

    def flat(self) -> dict[str, Any]:
        """Everything in numbers."""
        labelled = self.labels.pairs > 0
        return {
            **self.changes.counts(),
            "head_unknown": self.clusters.unknown,
            "precision": self.labels.precision if labelled else None,
            "recall": self.labels.recall if labelled else None,
        }


@dataclass(frozen=True, slots=True)
class Example:
    """An image that a trial would put elsewhere.

    Attributes:
        change: joined, founded or moved.
        image_id: of it.
        other_id: its best candidate in the cluster that it would join, or for a founder, in the one it would leave.
        score: pair score of the two.
        before, after: heads.
    """

    change: str
    image_id: str
    other_id: str
    score: float
    before: str
    after: str


def run_trial(recorded: Recorded, before: Clusters, evidence: Evidence, rule: Rule, labels: LabelledPairs) -> Trial:
    """Tries a rule.

    Args:
        recorded: the records.
        before: a replay with the recorded scores and thresholds, so that what a replay cannot see cancels out.
        evidence: scores to decide by.
        rule: to try.
        labels: labelled pairs.
    """
    after = replay(recorded, evidence, rule)
    free = after
    if len(labels) and recorded.pinned.any():
        free = replay(recorded, Evidence(evidence.edges, evidence.head_score, evidence.pinned & ~recorded.pinned), rule)
    changes = head_changes(before.head, after.head, len(recorded))
    return Trial(after, changes, count_labels(labels, free.head))


def examples(recorded: Recorded, before: Clusters, trial: Trial, evidence: Evidence) -> list[Example]:
    """Returns at most `MOST_EXAMPLES` of each change, spread evenly over their scores, best first."""
    edges, found = evidence.edges, []
    image = edges.image
    for change in CHANGES:
        changed: NDArray[np.bool_] = getattr(trial.changes, change)
        heads = before.head if change == "founded" else trial.clusters.head
        inside = changed[image] & (heads[edges.candidate] == heads[image]) & (edges.candidate != image)
        at = np.flatnonzero(inside)
        at = at[np.unique(image[at], return_index=True)[1]]
        at = at[np.lexsort((at, -edges.score[at]))]
        chosen = at[_spread(len(at), MOST_EXAMPLES)]
        found += _examples(
            recorded, change, image[chosen], edges.candidate[chosen], edges.score[chosen], (before, trial)
        )
    return found


def _examples(
    recorded: Recorded,
    change: str,
    images: Nodes,
    others: Nodes,
    scores: NDArray[np.float32],
    heads: tuple[Clusters, Trial],
) -> list[Example]:
    before, after = heads[0].head[images], heads[1].clusters.head[images]
    names = (recorded.names(nodes) for nodes in (images, others))
    clusters = (recorded.names(nodes) for nodes in (before, after))
    one, other = names
    old, new = clusters
    rows = zip(one, other, scores.tolist(), old, new, strict=True)
    return [Example(change, *row) for row in rows]


def _spread(count: int, most: int) -> Sequence[int] | NDArray[np.int64]:
    """At most so many of so many positions, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64)) if count else []
