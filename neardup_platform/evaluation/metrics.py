"""The metrics of an evaluation: what `neardup evaluate --json` prints.

Runs of the pipeline → outcome → **one JSON-ready object** → command line, report, checks.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neardup_platform.evaluation.corpus_size_metrics import (
    by_corpus_size,
    growth_of,
    measured_rates,
    tail_metrics,
)
from neardup_platform.evaluation.manifest import Row
from neardup_platform.evaluation.measures import (
    TARGET_PRECISION,
    bcubed_measures,
    cluster_measures,
    marked_measures,
    pair_curve,
    pair_measures,
    pairs_touching,
    pairs_within,
    score_measures,
)
from neardup_platform.evaluation.outcome import Evaluation, Outcome, outcome
from neardup_platform.evaluation.score_uncertainty import (
    recall_interval,
    short_curve,
    uncertain,
    uncertain_calibration_error,
)
from neardup_platform.evaluation.wrong_merges import wrong_merges, wrong_merges_by_mark
from neardup_platform.learning.embedder.kind_labels import true_kinds
from neardup_platform.records import KIND_NAMES

UNNAMED = "unnamed"
TRANSFORMATIONS_LISTED = 40
OTHERS = "all others"
NO_KIND = "none"


def metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Measure an evaluation.

    Returns:
        The metrics of the contract over all parts together, then: their uncertainty (`pair_recall_at_p99_low`,
        `…_high`, `calibration_error_uncertain`, `pairs_uncertain`), clusters (`cluster_sizes`, `mixed_clusters`,
        `most_groups_in_a_cluster`, `wrong_pairs_per_1000` with `…_low` and `…_high`), metrics by origin (`subsets`,
        `transformations`, `turned`, `kinds`; empty if the manifest does not have it), `pair_curve`, `by_corpus_size`
        and the `wrong_match_tail` that it extrapolates with, `pictures_refused`, `trained_on_share`, and `folds`
        with the metrics of each of its `parts`.

        `candidate_recall` is the share of true pairs whose later image had the earlier among its candidates. `coverage`
        is the share of pictures that were decided; unreadable pictures count as alone in their cluster. Pair-level
        metrics are over all scored pairs; true pairs that were never scored count as missed.
    """
    whole, rows = outcome(evaluation), evaluation.rows
    reading_s = evaluation.embedded.seconds
    parts = [_part(outcome(evaluation, [run])) for run in evaluation.runs] if evaluation.folds > 1 else []
    return {
        **_contract_metrics(whole, reading_s),
        **_certainty(whole),
        **_clusters(whole),
        **wrong_merges(whole.heads.tolist(), whole.groups.tolist(), np.ones(len(whole.heads), np.bool_)),
        "pairs_scored": len(whole.scores),
        "pictures_refused": len(evaluation.embedded.refused),
        "trained_on_share": None if evaluation.trained_on is None else evaluation.trained_on / len(rows),
        "classifiers": [run.classifier for run in evaluation.runs],
        "folds": evaluation.folds,
        "parts": parts,
        "subsets": _by(whole, [row.subset for row in rows]),
        "transformations": by_transformation(whole, rows),
        "turned": _turned(whole, rows),
        "kinds": kind_confusion(whole, rows),
        "pair_curve": _curve(whole),
        **_by_corpus_size(evaluation, whole),
    }


def by_transformation(whole: Outcome, rows: Sequence[Row]) -> dict[str, dict[str, int | float | None]]:
    """Images, true pairs and recall by the transformation of either picture, most missed pairs first.

    At most TRANSFORMATIONS_LISTED by name; the rest together as OTHERS. Empty if no row names one.
    """
    marks = [rows[number].transformation for number in whole.numbers]
    if not any(marks):
        return {}
    true, right = _true_and_right(whole, marks)
    listed = sorted((m for m in true if m and true[m]), key=lambda m: (right[m] - true[m], -true[m], m))
    kept = set(listed[:TRANSFORMATIONS_LISTED])
    if len(listed) > len(kept):
        marks = [mark if mark in kept or not mark else OTHERS for mark in marks]
        true, right = _true_and_right(whole, marks)
    names = [*listed[:TRANSFORMATIONS_LISTED], *([OTHERS] if len(listed) > len(kept) else [])]
    return {
        mark: {"images": marks.count(mark), "pairs_true": true[mark], "recall": right[mark] / true[mark]}
        for mark in names
    }


def kind_confusion(whole: Outcome, rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Scored pairs by true and by claimed match kind; pairs whose true kind is unknown are left out.

    Empty if no row is labelled. Pairs without a kind count as NO_KIND.
    """
    if not any(any(row.labels) for row in rows):
        return {}
    labels = [rows[number].labels for number in whole.numbers]
    true = true_kinds(labels, whole.later, whole.earlier, whole.true)
    names = (NO_KIND, *KIND_NAMES[1:])
    found = {
        names[kind]: dict(
            zip(names, np.bincount(whole.kinds[true == kind], minlength=len(names)).tolist(), strict=True)
        )
        for kind in range(len(names))
    }
    return {name: row for name, row in found.items() if any(row.values())}


def _contract_metrics(part: Outcome, reading_s: float) -> dict[str, int | float | None]:
    heads, groups = part.heads.tolist(), part.groups.tolist()
    true_pairs, found = pairs_within(groups), int(part.true.sum())
    return {
        "images": len(heads),
        "pairs_true": true_pairs,
        **pair_measures(heads, groups),
        **bcubed_measures(heads, groups),
        "candidate_recall": found / true_pairs if true_pairs else 1.0,
        "coverage": part.decided / len(heads),
        "images_per_s": part.decided / (reading_s + part.seconds),
        **score_measures(part.scores, part.true, true_pairs - found),
    }


def _part(part: Outcome) -> dict[str, Any]:
    """Metrics of one part, without its speed, which would not include reading."""
    measured = {**_contract_metrics(part, 0.0), **_clusters(part)}
    return {name: value for name, value in measured.items() if name not in ("images_per_s", "cluster_sizes")}


def _certainty(whole: Outcome) -> dict[str, float | int | None]:
    low, high = None, None
    if whole.true.any():
        sizes = np.bincount(whole.groups)
        groups = whole.groups[whole.later], whole.groups[whole.earlier]
        low, high = recall_interval(whole.scores, whole.true, groups, sizes * (sizes - 1) // 2, TARGET_PRECISION)
    return {
        "pair_recall_at_p99_low": low,
        "pair_recall_at_p99_high": high,
        "calibration_error_uncertain": uncertain_calibration_error(whole.scores, whole.true),
        "pairs_uncertain": int(uncertain(whole.scores).sum()),
    }


def _clusters(part: Outcome) -> dict[str, Any]:
    return cluster_measures(part.heads.tolist(), part.groups.tolist())


def _by(whole: Outcome, marks_of_rows: Sequence[str]) -> dict[str, Any]:
    if not any(marks_of_rows):
        return {}
    marks = [marks_of_rows[number] or UNNAMED for number in whole.numbers]
    heads, groups = whole.heads.tolist(), whole.groups.tolist()
    wrong = wrong_merges_by_mark(heads, groups, marks)
    return {mark: {**row, **wrong[mark]} for mark, row in marked_measures(heads, groups, marks).items()}


def _by_corpus_size(evaluation: Evaluation, whole: Outcome) -> dict[str, Any]:
    measured = measured_rates(evaluation, whole)
    return {"by_corpus_size": by_corpus_size(growth_of(measured)), "wrong_match_tail": tail_metrics(measured)}


def _turned(whole: Outcome, rows: Sequence[Row]) -> dict[str, Any] | None:
    """Recall of true pairs with at least one flipped or rotated picture; None if no row is."""
    if not any(row.turned for row in rows):
        return None
    true, right = _true_and_right(whole, ["turned" if rows[number].turned else "" for number in whole.numbers])
    pairs = true["turned"]
    return {"pairs_true": pairs, "recall": right["turned"] / pairs if pairs else None}


def _true_and_right(whole: Outcome, marks: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    groups, cells = whole.groups.tolist(), list(zip(whole.heads.tolist(), whole.groups.tolist(), strict=True))
    return pairs_touching(groups, marks), pairs_touching(cells, marks)


def _curve(whole: Outcome) -> list[dict[str, float]]:
    missed = pairs_within(whole.groups.tolist()) - int(whole.true.sum())
    curve = pair_curve(whole.scores, whole.true, missed)
    return [] if curve is None else short_curve(curve)
