"""Precision and recall of clusters on what operators have said: their overrides as labelled pairs. Pure.

`move` and `merge` say that two images belong together, `forbid` that they do not, `split` both, and `alone` that an
image belongs with none of its candidates. A replay that measures this leaves the overrides out: it would always agree
with them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from neardup_platform.client.answers import Override
from neardup_platform.what_if.recorded import Flags, Nodes, Recorded


class Label(NamedTuple):
    """An override: its action and the images it names."""

    action: str
    image_id: str
    other_id: str


@dataclass(frozen=True, slots=True)
class LabelledPairs:
    """Pairs of nodes, and whether they belong together; all [n]."""

    a: Nodes
    b: Nodes
    same: Flags

    def __len__(self) -> int:
        """Returns n."""
        return len(self.a)


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Labelled pairs by where they are.

    Attributes:
        pairs: all.
        same: those that belong together.
        same_together: of these, in one cluster.
        others_together: in one cluster, of those that do not belong together.
    """

    pairs: int
    same: int
    same_together: int
    others_together: int

    @property
    def precision(self) -> float | None:
        """Share of the pairs in one cluster that belong together; None if there is none."""
        together = self.same_together + self.others_together
        return self.same_together / together if together else None

    @property
    def recall(self) -> float | None:
        """Share of the pairs that belong together that are in one cluster; None if there is none."""
        return self.same_together / self.same if self.same else None


def labels_of(override: Override) -> list[Label]:
    """Returns what an override says: of a split, that those that left belong together, and not with one that stayed."""
    if override.action != "split":
        return [Label(override.action, override.image_id, override.other_id)]
    left = [override.image_id, *override.image_ids]
    apart = [Label("forbid", image_id, override.other_id) for image_id in left]
    return apart + [Label("move", image_id, override.image_id) for image_id in override.image_ids]


def labelled_pairs(recorded: Recorded, labels: Iterable[Label]) -> LabelledPairs:
    """Returns the pairs whose two images are in the records, each once; what contradicts itself is left out."""
    given = list(labels)
    nodes = recorded.nodes(name for label in given for name in label[1:] if name)
    said: dict[tuple[int, int], set[bool]] = {}
    for label in given:
        one, other = nodes.get(label.image_id), nodes.get(label.other_id)
        if label.action == "alone" and one is not None and one < len(recorded):
            starts = recorded.edges.starts
            for candidate in recorded.edges.candidate[starts[one] : starts[one + 1]].tolist():
                said.setdefault(_pair(one, candidate), set()).add(False)
        elif one is not None and other is not None:
            said.setdefault(_pair(one, other), set()).add(label.action != "forbid")
    clear = {pair: answers.pop() for pair, answers in said.items() if len(answers) == 1}
    ends = np.array(list(clear), np.int32).reshape(-1, 2)
    return LabelledPairs(ends[:, 0], ends[:, 1], np.array(list(clear.values()), np.bool_))


def count_labels(pairs: LabelledPairs, head: Nodes) -> LabelCounts:
    """Counts pairs by where they are.

    Args:
        pairs: of nodes.
        head: int32 [M], the cluster of every node.
    """
    together = head[pairs.a] == head[pairs.b]
    return LabelCounts(
        len(pairs), int(pairs.same.sum()), int((together & pairs.same).sum()), int((together & ~pairs.same).sum())
    )


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)
