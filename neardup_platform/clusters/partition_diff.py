"""What changes when images go from one partition into clusters to another. Pure.

Image → head before, and image → head after → **images moved, new and gone; clusters split and merged**. Rollback plans
compare the active store with a snapshot, reprocessing and what-if compare a store with how it would decide.

A cluster's id is the id of one of its images, its head. So a cluster keeps some of its images exactly if its head is
still in it, and only images that move have to be remembered.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# Other clusters that an example names.
_MOST_PARTS = 8


class HeadChange(NamedTuple):
    """An image, and the cluster that it is in; None where the image is unknown."""

    image_id: str
    head_before: str | None
    head_after: str | None


class ClusterChange(NamedTuple):
    """A cluster that splits or is merged.

    Attributes:
        head: before, of one that splits; after, of one that others are merged into.
        parts: heads of the clusters that its images go to or come from, those of most images first, at most eight.
        part_count: how many there are.
        images: known before and after, that move into or out of it.
    """

    head: str
    parts: tuple[str, ...]
    part_count: int
    images: int


@dataclass(frozen=True, slots=True)
class PartitionDiff:
    """The difference, in numbers of images and clusters, with examples.

    Attributes:
        images: compared.
        moved: known before and after, with another head.
        new: unknown before.
        gone: unknown after.
        split: clusters before whose images, as far as they are known after, are in several clusters after.
        merged: clusters after whose images, as far as they were known before, were in several clusters before.
        moved_examples, new_examples, gone_examples: the first of them.
        split_examples, merged_examples: those of most images that move.
    """

    images: int = 0
    moved: int = 0
    new: int = 0
    gone: int = 0
    split: int = 0
    merged: int = 0
    moved_examples: Sequence[HeadChange] = ()
    new_examples: Sequence[HeadChange] = ()
    gone_examples: Sequence[HeadChange] = ()
    split_examples: Sequence[ClusterChange] = ()
    merged_examples: Sequence[ClusterChange] = ()


def merge_heads(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> Iterator[HeadChange]:
    """Merge two lists of image and head, in one pass.

    Args:
        before, after: image id and head, ascending by image id, each image once.

    Yields:
        Every image of either, ascending by image id.
    """
    rest = iter(after)
    other = next(rest, None)
    for image_id, head in before:
        while other is not None and other[0] < image_id:
            yield HeadChange(other[0], None, other[1])
            other = next(rest, None)
        if other is not None and other[0] == image_id:
            yield HeadChange(image_id, head, other[1])
            other = next(rest, None)
        else:
            yield HeadChange(image_id, head, None)
    while other is not None:
        yield HeadChange(other[0], None, other[1])
        other = next(rest, None)


def compare_partitions(changes: Iterable[tuple[str, str | None, str | None]], examples: int = 20) -> PartitionDiff:
    """Compare two partitions.

    Images that are left out count as unmoved, so a subset may be compared. Memory grows with the number of different
    pairs of heads between which images move, not with the number of images.

    Args:
        changes: image id, head before and head after; None for an unknown image. Each image once, in any order.
        examples: most of each kind, at least 0.
    """
    counts: Counter[str] = Counter()
    shown: dict[str, list[HeadChange]] = {"moved": [], "new": [], "gone": []}
    flows: Counter[tuple[str, str]] = Counter()
    left: set[str] = set()
    for image_id, before, after in changes:
        counts["images"] += 1
        if before == after:
            continue
        kind = "new" if before is None else "gone" if after is None else "moved"
        counts[kind] += 1
        if len(shown[kind]) < examples:
            shown[kind].append(HeadChange(image_id, before, after))
        if before is not None and after is not None:
            flows[before, after] += 1
        if image_id in (before, after):
            left.add(image_id)
    split = _several(((before, after, n) for (before, after), n in flows.items()), left)
    merged = _several(((after, before, n) for (before, after), n in flows.items()), left)
    return PartitionDiff(
        counts["images"],
        counts["moved"],
        counts["new"],
        counts["gone"],
        len(split),
        len(merged),
        shown["moved"],
        shown["new"],
        shown["gone"],
        _largest(split, examples),
        _largest(merged, examples),
    )


def _several(flows: Iterable[tuple[str, str, int]], left: set[str]) -> dict[str, Counter[str]]:
    """The clusters that have images in several clusters of the other side, with the images that move, by other cluster.

    Args:
        flows: a cluster, one of the other side, and how many images move between them.
        left: heads that are in another cluster on the other side, or unknown there.
    """
    parts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for head, other, count in flows:
        parts[head][other] += count
    return {head: others for head, others in parts.items() if len(others) + (head not in left) > 1}


def _largest(clusters: dict[str, Counter[str]], most: int) -> list[ClusterChange]:
    ordered = sorted(clusters.items(), key=lambda item: (-item[1].total(), item[0]))[:most]
    return [_cluster_change(head, others) for head, others in ordered]


def _cluster_change(head: str, others: Counter[str]) -> ClusterChange:
    parts = sorted(others, key=lambda other: (-others[other], other))
    return ClusterChange(head, tuple(parts[:_MOST_PARTS]), len(parts), others.total())
