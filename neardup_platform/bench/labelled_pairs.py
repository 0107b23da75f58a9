"""Which pairs of pictures are true, and in which line of `neardup bench accuracy` they count. Pure.

Rows of manifests → **labels** → counts of pairs by score. A pair counts in the line of all pictures, and in that of the
subset of both or in the one for pairs across subsets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.evaluation.manifest import Row, group_label
from neardup_platform.evaluation.measures import pairs_within
from neardup_platform.evaluation.metrics import UNNAMED
from neardup_platform.scoring.calibration import PrecisionRecall, ScoreCounts, count_scores, counted_precision_recall

ALL, ACROSS = "all pictures", "across subsets"

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Line:
    """What one method found among some pairs.

    Attributes:
        name: a subset, ALL or ACROSS.
        pictures: in it.
        compared: those of them that the method compares.
        true_pairs: including those without a score.
        counts: of the scored pairs.
    """

    name: str
    pictures: int
    compared: int
    true_pairs: int
    counts: ScoreCounts

    @property
    def curve(self) -> PrecisionRecall | None:
        """Precision and recall, true pairs without a score being missed; None if no true pair has a score."""
        found = int(self.counts.true.sum())
        return counted_precision_recall(self.counts, self.true_pairs - found) if found else None


@dataclass(frozen=True, slots=True)
class Labels:
    """The truth about some pictures.

    Attributes:
        groups: int64 [n], equal for near-duplicates of one another; a distractor has its own.
        subsets: int64 [n], numbers of subsets.
        names: of the subsets.
    """

    groups: Numbers
    subsets: Numbers
    names: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Labels":
        """Of the rows of manifests; rows without a subset form one of their own."""
        _, groups = np.unique([group_label(row, number) for number, row in enumerate(rows)], return_inverse=True)
        names, subsets = np.unique([row.subset or UNNAMED for row in rows], return_inverse=True)
        return cls(groups.astype(np.int64), subsets.astype(np.int64), tuple(map(str, names)))

    @property
    def cells(self) -> int:
        """Number of cells that partition the pairs: one per subset, then one for pairs across subsets."""
        return len(self.names) + 1

    def cells_of(self, first: Numbers, second: Numbers) -> Numbers:
        """Cells of pairs of pictures, int64 of the shape to which both arguments broadcast."""
        subsets = self.subsets[first]
        return np.where(subsets == self.subsets[second], subsets, len(self.names))

    def lines(self, compared: NDArray[np.bool_], counts: Sequence[ScoreCounts]) -> list[Line]:
        """The line of all pictures, then those of the cells; one subset is the same as all.

        Args:
            compared: bool [n], the pictures that a method compares.
            counts: of all pairs, then of those in each cell.
        """
        groups, inside = self.groups.tolist(), [self.subsets == number for number in range(len(self.names))]
        true = [pairs_within(self.groups[part].tolist()) for part in inside]
        # Every picture has pairs across subsets.
        everywhere = np.ones(len(groups), np.bool_)
        parts = [(ALL, everywhere, pairs_within(groups)), *zip(self.names, inside, true, strict=True)]
        parts.append((ACROSS, everywhere, pairs_within(groups) - sum(true)))
        lines = [
            Line(name, int(part.sum()), int(compared[part].sum()), pairs, each)
            for (name, part, pairs), each in zip(parts, counts, strict=True)
        ]
        return lines if len(self.names) > 1 else lines[:1]

    def count(
        self, first: Numbers, second: Numbers, scores: NDArray[np.float32], true: NDArray[np.bool_]
    ) -> list[ScoreCounts]:
        """Counts of scored pairs: of all, then of those in each cell.

        Args:
            first, second: int64 [m], pictures.
            scores: float32 [m].
            true: bool [m].
        """
        cells, exact = self.cells_of(first, second), scores.astype(np.float64)
        parts = [cells == cell for cell in range(self.cells)]
        return [count_scores(exact, true), *(count_scores(exact[part], true[part]) for part in parts)]
