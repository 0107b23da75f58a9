"""Proposals as an operator reads and applies them: parts that would leave a cluster, clusters that would merge.

Nodes → **proposals** → rows for `neardup override csv`. `alone` founds the part of a cluster that is cut off and `move`
brings its images there; a cluster is merged by moving its members, its head last, so that it is never handed over on
the way. A proposal also says in one line what it is, so that one action for a whole split or merge can express it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from neardup_platform.reclustering.clustering import Leaving, Reclustered, TakingIn
from neardup_platform.what_if.recorded import Recorded

# Images of a proposal that are listed; all of them are in its rows.
_SHOWN = 20


class OverrideRow(NamedTuple):
    """A row of `neardup override csv`."""

    action: Literal["alone", "move"]
    image_id: str
    other_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change.

    Attributes:
        kind: `split`: images leave the cluster of `head`; `merge`: the whole cluster ends.
        head: of the cluster that changes.
        to: head of the cluster that its images join; of a new part, its first image.
        images: that move, the first one is `to` where a part is founded.
        score: of a split, the least score of its images with `head`; of a merge, that of the two heads.
        bridge: of a merge, the best score between two members.
        rows: overrides that carry it out, in order.
    """

    kind: Literal["split", "merge"]
    head: str
    to: str
    images: tuple[str, ...]
    score: float
    bridge: float | None
    rows: tuple[OverrideRow, ...]

    @property
    def founds(self) -> bool:
        """Whether it founds the cluster of `to`."""
        return self.kind == "split" and self.to in self.images

    def flat(self) -> dict[str, Any]:
        """Everything but the rows; at most 20 images."""
        return {
            "kind": self.kind,
            "head": self.head,
            "to": self.to,
            "founds": self.founds,
            "images": len(self.images),
            "score": self.score,
            "bridge": self.bridge,
            "first_images": list(self.images[:_SHOWN]),
        }


def proposals_of(recorded: Recorded, found: Reclustered) -> list[Proposal]:
    """Returns splits in the order in which they apply, then merges, the surest first."""
    parts: dict[tuple[int, int], list[Leaving]] = {}
    for each in found.leaving:
        parts.setdefault((each.head, each.to), []).append(each)
    splits = [_split(recorded, part) for part in parts.values()]
    return [*splits, *(_merge(recorded, each) for each in found.taken_in)]


def touching(proposals: Iterable[Proposal], heads: Collection[str]) -> list[Proposal]:
    """Returns the proposals about some clusters, with those that found the clusters that these need, in order."""
    listed = list(proposals)
    kept = [each for each in listed if each.head in heads or each.to in heads]
    needed = {each.to for each in kept}
    return [each for each in listed if each in kept or (each.founds and each.to in needed)]


def at_most(proposals: Iterable[Proposal], rows: int) -> list[Proposal]:
    """Returns the first proposals that have so many rows together."""
    kept: list[Proposal] = []
    for each in proposals:
        rows -= len(each.rows)
        if rows < 0:
            break
        kept.append(each)
    return kept


def _split(recorded: Recorded, part: list[Leaving]) -> Proposal:
    images = recorded.names([each.image for each in part])
    head, to = recorded.names([part[0].head, part[0].to])
    rows = []
    for image, each in zip(images, part, strict=True):
        apart = f"scores {each.score:.3f} with its head {head[:128]}"
        if image == to:
            rows.append(OverrideRow("alone", image, "", f"proposed split: {apart}"))
        else:
            rows.append(
                OverrideRow("move", image, to, f"proposed split: {apart}, {each.to_score:.3f} with the new one")
            )
    return Proposal("split", head, to, tuple(images), min(each.score for each in part), None, tuple(rows))


def _merge(recorded: Recorded, found: TakingIn) -> Proposal:
    images = recorded.names(found.images)
    head, into = recorded.names([found.head, found.into])
    reason = f"proposed merge: the heads score {found.score:.3f}, members up to {found.bridge:.3f}"
    rows = tuple(OverrideRow("move", image, into, reason) for image in images)
    return Proposal("merge", head, into, tuple(images), found.score, found.bridge, rows)
