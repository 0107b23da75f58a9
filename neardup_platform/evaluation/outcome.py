"""An evaluation as labels and pairs: what the measures and the report read.

Runs over the parts of a manifest → **one set of clusters, groups and scored pairs** → figures, plots, worst
pairs. Parts never share a cluster or a pair, so pooling them is putting them side by side: every figure counts
over all parts, none is an average of the parts' figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.evaluation.embedded_rows import EmbeddedRows
from neardup_platform.evaluation.manifest import Row, group_label
from neardup_platform.evaluation.pipeline_run import Run


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A manifest judged: by one run over all rows, or by one run for each part of them.

    Attributes:
        embedded: every row.
        runs: one a part; together their parts are all rows.
        trained_on: rows on which the classifier that judged them was trained; None where that is not known.
        folds: number of parts, 1 where the manifest was judged whole.
    """

    embedded: EmbeddedRows
    runs: Sequence[Run]
    trained_on: int | None
    folds: int = 1

    @property
    def rows(self) -> Sequence[Row]:
        """The rows of the manifest."""
        return self.embedded.rows


@dataclass(frozen=True, slots=True)
class Outcome:
    """Some runs side by side; arrays over rows are aligned with `numbers`, pairs hold positions in it.

    Attributes:
        numbers: int64 [n], row numbers.
        heads: int64 [n], row number of the head; its own for a picture that cannot be read, which is alone.
        groups: int64 [n], equal for near-duplicates of one another; a distractor has one of its own.
        later, earlier: int64 [m], pairs scored.
        scores: float32 [m].
        true: bool [m], whether the two are of one group.
        decided: how many of the rows were decided.
        seconds: spent deciding.
    """

    numbers: NDArray[np.int64]
    heads: NDArray[np.int64]
    groups: NDArray[np.int64]
    later: NDArray[np.int64]
    earlier: NDArray[np.int64]
    scores: NDArray[np.float32]
    true: NDArray[np.bool_]
    decided: int
    seconds: float


def outcome(evaluation: Evaluation, runs: Sequence[Run] | None = None) -> Outcome:
    """All runs, or those given, side by side."""
    runs = evaluation.runs if runs is None else runs
    numbers = np.concatenate([run.part for run in runs])
    heads = numbers.copy()
    place = np.full(len(evaluation.rows), -1, np.int64)
    place[numbers] = np.arange(len(numbers))
    for run in runs:
        heads[place[run.decided]] = run.heads
    labels = [group_label(evaluation.rows[number], number) for number in numbers]
    groups = np.unique(np.array(labels), return_inverse=True)[1].astype(np.int64)
    later = place[np.concatenate([run.later for run in runs])]
    earlier = place[np.concatenate([run.earlier for run in runs])]
    return Outcome(
        numbers=numbers,
        heads=heads,
        groups=groups,
        later=later,
        earlier=earlier,
        scores=np.concatenate([run.scores for run in runs]),
        true=groups[later] == groups[earlier],
        decided=sum(len(run.decided) for run in runs),
        seconds=sum(run.seconds for run in runs),
    )
