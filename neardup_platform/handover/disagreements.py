"""The clusters on which two pipelines disagree, largest effect first, each with two images to look at. Pure.

A cluster of the other pipeline whose images are in several of ours is *split*; a cluster of ours with images of several
of the other's is *merged*. The effect is the number of pairs of images that only one of the two has in one cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neardup_platform.handover.agreement import Cells, Labels, Mask, cells_of

MOST_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One cluster.

    Attributes:
        kind: `split`: ours takes a cluster of the other apart; `merged`: ours puts clusters of the other together.
        cluster: its head, at the pipeline that has it as one.
        images: of it, as far as they are compared.
        parts: clusters that the other of the two has instead.
        pairs: the effect.
        one, other: images of the two largest parts.
        one_head, other_head: our heads of them.
    """

    kind: Literal["split", "merged"]
    cluster: str
    images: int
    parts: int
    pairs: int
    one: str
    other: str
    one_head: str
    other_head: str


def rank(
    image_ids: Sequence[str],
    their_heads: Sequence[str],
    our_heads: Sequence[str],
    theirs: Labels,
    ours: Labels,
    compared: Mask,
) -> list[Disagreement]:
    """The disagreements that an image of `compared` is part of, by effect, at most `MOST_SHOWN`.

    Args:
        image_ids, their_heads, our_heads: of n images.
        theirs, ours: int64 [n], labels of the same clusters.
        compared: bool [n].
    """
    if not compared.any():
        return []
    cells = cells_of(theirs, ours)
    first = np.unique(cells.of_image, return_index=True)[1]
    found: list[Disagreement] = []
    kinds: tuple[tuple[Literal["split", "merged"], Labels, Labels, Labels, Sequence[str]], ...] = (
        ("split", cells.theirs, cells.theirs_sizes, theirs, their_heads),
        ("merged", cells.ours, cells.ours_sizes, ours, our_heads),
    )
    for kind, wholes, sizes, labels, heads in kinds:
        for cluster, effect, parts in _broken(cells, wholes, sizes, np.unique(labels[compared])):
            in_it = np.flatnonzero(wholes == cluster)
            largest = in_it[np.argsort(-cells.counts[in_it], kind="stable")][:2]
            one, other = (int(first[cell]) for cell in largest)
            found.append(
                Disagreement(
                    kind,
                    heads[one],
                    int(sizes[cluster]),
                    parts,
                    effect,
                    image_ids[one],
                    image_ids[other],
                    our_heads[one],
                    our_heads[other],
                )
            )
    return sorted(found, key=lambda each: (-each.pairs, each.kind, each.cluster))[:MOST_SHOWN]


def _broken(cells: Cells, wholes: Labels, sizes: Labels, touched: Labels) -> list[tuple[int, int, int]]:
    """Clusters in several cells, at most `MOST_SHOWN`: label, pairs that are lost, and number of cells."""
    kept = np.zeros(len(sizes), np.int64)
    np.add.at(kept, wholes, cells.counts * (cells.counts - 1) // 2)
    lost, parts = sizes * (sizes - 1) // 2 - kept, np.bincount(wholes, minlength=len(sizes))
    chosen = touched[parts[touched] > 1]
    order = chosen[np.argsort(-lost[chosen], kind="stable")][:MOST_SHOWN]
    return [(int(label), int(lost[label]), int(parts[label])) for label in order]
