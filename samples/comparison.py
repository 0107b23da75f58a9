"""Compares the clusters that the platform made with the copies that the demo made. Pure counting."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from samples.alterations import Copy


@dataclass(frozen=True, slots=True)
class OriginalFound:
    """One original and the clusters of its copies.

    Attributes:
        head: the original's cluster; None while it is undecided.
        found: ids of its copies in the same cluster.
        missed: alterations of its copies that are in other clusters or undecided.
    """

    original_id: str
    head: str | None
    found: tuple[str, ...]
    missed: tuple[str, ...]

    @property
    def made(self) -> int:
        """Copies made of this original."""
        return len(self.found) + len(self.missed)


@dataclass(frozen=True, slots=True)
class WrongMerge:
    """An image in a cluster that belongs to another original."""

    image_id: str
    original_id: str
    head: str
    owner_id: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many of the copies were found.

    Attributes:
        originals: in the order of their ids.
        wrong_merges: in the order of cluster and image id.
        by_alteration: alteration to (copies found, copies made).
        undecided: ids of originals and copies without a cluster.
        clusters: number of distinct clusters of the images.
    """

    originals: tuple[OriginalFound, ...]
    wrong_merges: tuple[WrongMerge, ...]
    by_alteration: dict[str, tuple[int, int]]
    undecided: tuple[str, ...]
    clusters: int

    @property
    def found(self) -> int:
        """Copies in the cluster of their original."""
        return sum(len(original.found) for original in self.originals)

    @property
    def made(self) -> int:
        """Copies made."""
        return sum(original.made for original in self.originals)


def _original_found(original_id: str, copies: Sequence[Copy], heads: Mapping[str, str]) -> OriginalFound:
    head = heads.get(original_id)
    joined = [copy for copy in copies if head is not None and heads.get(copy.image_id) == head]
    return OriginalFound(
        original_id,
        head,
        tuple(copy.image_id for copy in joined),
        tuple(copy.alteration for copy in copies if copy not in joined),
    )


def _wrong_merges(family: Mapping[str, str], heads: Mapping[str, str]) -> tuple[WrongMerge, ...]:
    members: dict[str, list[str]] = {}
    for image_id in sorted(family):
        if image_id in heads:
            members.setdefault(heads[image_id], []).append(image_id)
    wrong: list[WrongMerge] = []
    for head, image_ids in sorted(members.items()):
        sizes = Counter(family[image_id] for image_id in image_ids)
        # The largest family owns the cluster; among equals the head's, then the first by name.
        owner_id = min(sizes, key=lambda name: (-sizes[name], name != family.get(head), name))
        strangers = (image_id for image_id in image_ids if family[image_id] != owner_id)
        wrong.extend(WrongMerge(image_id, family[image_id], head, owner_id) for image_id in strangers)
    return tuple(wrong)


def compare(originals: Sequence[str], copies: Sequence[Copy], heads: Mapping[str, str]) -> Comparison:
    """Count which copies are in the cluster of their original, and which images share a cluster with strangers.

    Args:
        originals: image ids of the originals.
        copies: the copies made of them.
        heads: image id to the head of its cluster; an image that is absent is undecided. Ids that are
            neither original nor copy are ignored.

    Returns:
        The counts and the ids behind them.
    """
    family = {original_id: original_id for original_id in originals}
    family |= {copy.image_id: copy.original_id for copy in copies}
    copies_of: dict[str, list[Copy]] = {original_id: [] for original_id in sorted(originals)}
    for copy in copies:
        copies_of[copy.original_id].append(copy)
    rows = tuple(_original_found(original_id, made, heads) for original_id, made in copies_of.items())
    found_ids = {image_id for row in rows for image_id in row.found}
    made_of = Counter(copy.alteration for copy in copies)
    found_of = Counter(copy.alteration for copy in copies if copy.image_id in found_ids)
    return Comparison(
        originals=rows,
        wrong_merges=_wrong_merges(family, heads),
        by_alteration={name: (found_of[name], made) for name, made in made_of.items()},
        undecided=tuple(sorted(image_id for image_id in family if image_id not in heads)),
        clusters=len({heads[image_id] for image_id in family if image_id in heads}),
    )
