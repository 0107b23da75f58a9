"""An evaluation as labels and pairs, for the metrics and the report.

Runs over the parts of a manifest → **one set of clusters, groups and scored pairs** → metrics, plots, worst pairs.
Parts never share a cluster or a pair, so they are pooled by concatenation: every metric counts over all parts, none is
an average over parts.
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
    """An evaluated manifest: by one run over all rows, or by one run for each part of them.

    Attributes:
        embedded: every row.
        runs: one per part; together their parts are all rows.
        trained_on: number of rows that the classifier evaluating them was trained on; None if unknown.
        folds: number of parts, 1 if the manifest was evaluated as a whole.
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
        heads: int64 [n], row number of the head; its own for an unreadable picture, which is alone.
        groups: int64 [n], equal for near-duplicates of one another; a distractor has its own.
        later, earlier: int64 [m], scored pairs.
        scores: float32 [m].
        kinds: uint8 [m], positions in `KIND_NAMES`.
        true: bool [m], whether the two are in the same group.
        decided: how many of the rows were decided.
        seconds: time spent deciding.
    """

    numbers: NDArray[np.int64]
    heads: NDArray[np.int64]
    groups: NDArray[np.int64]
    later: NDArray[np.int64]
    earlier: NDArray[np.int64]
    scores: NDArray[np.float32]
    kinds: NDArray[np.uint8]
    true: NDArray[np.bool_]
    decided: int
    seconds: float


def outcome(evaluation: Evaluation, runs: Sequence[Run] | None = None) -> Outcome:
    """All runs, or the given ones, side by side."""
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
        kinds=np.concatenate([run.kinds for run in runs]),
        true=groups[later] == groups[earlier],
        decided=sum(len(run.decided) for run in runs),
        seconds=sum(run.seconds for run in runs),
    )
