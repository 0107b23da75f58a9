"""How far two partitions of the same images agree, in numbers that add up over hours. Pure.

Head of each image at the other pipeline, head of each at ours → **sums** → shares

Clusters are compared by their images, never by their ids: two pipelines may name one cluster differently. An image that
is alone in both partitions agrees trivially, and most images are alone; so `agreement` looks at the others, those that
at least one of the two put together with another image.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Sums over the images that are compared; those of two hours add up.

    Attributes:
        images: compared.
        together: of them, those that are not alone in both partitions.
        precision_sum: over `together`, the share of the image's cluster of ours that the other pipeline has in one
            cluster with it, itself included (BCubed precision, Bagga and Baldwin 1998).
        recall_sum: over `together`, the share of its cluster at the other that ours has in one cluster with it.
        pairs_both: pairs of images that both have in one cluster.
        pairs_ours, pairs_theirs: pairs that ours has in one cluster, and that the other has.
        clusters: of the other, with an image that is compared.
        identical: of them, those that ours has with the same images.
        split: of them, those whose images are in several clusters of ours.
        merged: clusters of ours with images of several clusters of the other.
    """

    images: int = 0
    together: int = 0
    precision_sum: float = 0.0
    recall_sum: float = 0.0
    pairs_both: int = 0
    pairs_ours: int = 0
    pairs_theirs: int = 0
    clusters: int = 0
    identical: int = 0
    split: int = 0
    merged: int = 0

    def __add__(self, other: Self) -> "Agreement":
        summed = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return Agreement(**summed)

    @property
    def agreement(self) -> float | None:
        """BCubed F1 over the images that are not alone in both, 0 to 1; None where there are none."""
        return _f1(self.precision_sum, self.recall_sum, self.together, self.together)

    @property
    def bcubed_f1(self) -> float | None:
        """BCubed F1 over all images; those that are alone in both count as 1."""
        alone = self.images - self.together
        return _f1(self.precision_sum + alone, self.recall_sum + alone, self.images, self.images)

    @property
    def pair_precision(self) -> float | None:
        """Share of our pairs that the other has too; None where ours has none."""
        return self.pairs_both / self.pairs_ours if self.pairs_ours else None

    @property
    def pair_recall(self) -> float | None:
        """Share of the other's pairs that ours has too; None where the other has none."""
        return self.pairs_both / self.pairs_theirs if self.pairs_theirs else None

    @property
    def pair_f1(self) -> float | None:
        """Harmonic mean of the two; None where neither has a pair."""
        return _f1(self.pairs_both, self.pairs_both, self.pairs_ours, self.pairs_theirs)


def _f1(precision_sum: float, recall_sum: float, of_precision: int, of_recall: int) -> float | None:
    """Harmonic mean of two shares; 0 where one of them has no denominator, None where both have none."""
    if not of_precision + of_recall:
        return None
    if not (of_precision and of_recall and precision_sum and recall_sum):
        return 0.0
    precision, recall = precision_sum / of_precision, recall_sum / of_recall
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True, slots=True)
class Cells:
    """Two partitions of n images, as the cells of their contingency table that are not empty.

    Attributes:
        of_image: int64 [n], the cell of each image.
        counts: int64 [n_cells], its images.
        theirs, ours: int64 [n_cells], the clusters that meet in it.
        theirs_sizes, ours_sizes: int64 [n_clusters].
    """

    of_image: Labels
    counts: Labels
    theirs: Labels
    ours: Labels
    theirs_sizes: Labels
    ours_sizes: Labels


def cells_of(theirs: Labels, ours: Labels) -> Cells:
    """The contingency table of two partitions, int64 [n] labels from 0 on each."""
    n_ours = int(ours.max()) + 1 if len(ours) else 1
    _, first, inverse, counts = np.unique(
        theirs * n_ours + ours, return_index=True, return_inverse=True, return_counts=True
    )
    return Cells(
        inverse.astype(np.int64).reshape(-1),
        counts.astype(np.int64),
        theirs[first],
        ours[first],
        np.bincount(theirs).astype(np.int64),
        np.bincount(ours).astype(np.int64),
    )


def labels_of(heads: Sequence[Hashable]) -> Labels:
    """Clusters by number, int64 [n], in the order of their first image."""
    numbers: dict[Hashable, int] = {}
    return np.fromiter((numbers.setdefault(head, len(numbers)) for head in heads), np.int64, len(heads))


def measure(theirs: Labels, ours: Labels, compared: Mask) -> Agreement:
    """Compare two partitions.

    Args:
        theirs, ours: int64 [n], cluster of each image.
        compared: bool [n]; the others are only members of clusters, such as a head that was decided earlier. A pair of
            them does not count.
    """
    if not compared.any():
        return Agreement()
    cells = cells_of(theirs, ours)
    of = cells.of_image[compared]
    met, in_theirs, in_ours = cells.counts[of], cells.theirs_sizes[theirs[compared]], cells.ours_sizes[ours[compared]]
    together = (in_theirs > 1) | (in_ours > 1)
    others = cells_of(theirs[~compared], ours[~compared]) if not compared.all() else None
    whole = (cells.counts == cells.theirs_sizes[cells.theirs]) & (cells.counts == cells.ours_sizes[cells.ours])
    touched_theirs, touched_ours = np.unique(theirs[compared]), np.unique(ours[compared])
    parts_of_theirs, parts_of_ours = np.bincount(cells.theirs), np.bincount(cells.ours)
    return Agreement(
        images=int(compared.sum()),
        together=int(together.sum()),
        precision_sum=float((met / in_ours)[together].sum()),
        recall_sum=float((met / in_theirs)[together].sum()),
        pairs_both=_pairs(cells.counts) - (_pairs(others.counts) if others else 0),
        pairs_ours=_pairs(cells.ours_sizes) - (_pairs(others.ours_sizes) if others else 0),
        pairs_theirs=_pairs(cells.theirs_sizes) - (_pairs(others.theirs_sizes) if others else 0),
        clusters=len(touched_theirs),
        identical=len(np.unique(cells.theirs[np.unique(of)][whole[np.unique(of)]])),
        split=int((parts_of_theirs[touched_theirs] > 1).sum()),
        merged=int((parts_of_ours[touched_ours] > 1).sum()),
    )


def _pairs(sizes: Labels) -> int:
    """Pairs within clusters of these sizes, as Python's integers, which do not overflow."""
    return int((sizes * (sizes - 1) // 2).sum())
