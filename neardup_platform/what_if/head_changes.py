"""How two partitions of the same images differ: image → head, before and after, as arrays. Pure."""

from dataclasses import dataclass

import numpy as np

from neardup_platform.what_if.recorded import Flags, Nodes


@dataclass(frozen=True, slots=True)
class HeadChanges:
    """The difference.

    Attributes:
        joined: bool [images], those that founded a cluster before and join one after.
        founded: bool [images], those that joined a cluster before and found one after.
        moved: bool [images], those that join another cluster.
        clusters_before, clusters: with a node, before and after.
        split: clusters whose images are in several after.
        merged: clusters after whose images were in several.
    """

    joined: Flags
    founded: Flags
    moved: Flags
    clusters_before: int
    clusters: int
    split: int
    merged: int

    def counts(self) -> dict[str, int]:
        """Everything as numbers."""
        flags = {name: int(getattr(self, name).sum()) for name in ("joined", "founded", "moved")}
        return flags | {name: getattr(self, name) for name in ("clusters_before", "clusters", "split", "merged")}


def head_changes(before: Nodes, after: Nodes, images: int) -> HeadChanges:
    """Compares two partitions.

    Args:
        before, after: int32 [n], the head of each node; a head is a node.
        images: the first nodes, whose changes are counted; the others tell which clusters keep their heads.
    """
    own = np.arange(images)
    was_head, is_head = before[:images] == own, after[:images] == own
    (clusters_before, split), (clusters, merged) = _scattered(before, after), _scattered(after, before)
    return HeadChanges(
        joined=was_head & ~is_head,
        founded=~was_head & is_head,
        moved=~was_head & ~is_head & (before != after)[:images],
        clusters_before=clusters_before,
        clusters=clusters,
        split=split,
        merged=merged,
    )


def _scattered(of: Nodes, over: Nodes) -> tuple[int, int]:
    """How many clusters there are in one partition, and how many of them have images in several of the other."""
    one = np.full(int(of.max(initial=-1)) + 1, -1, np.int32)
    one[of] = over
    several = np.zeros(len(one), np.bool_)
    several[of[over != one[of]]] = True
    return int((one >= 0).sum()), int(several.sum())
