"""The plots of the report, each for a light and a dark background, ready to embed.

Outcome, metrics → **plots as data URIs** → HTML report.
"""

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from neardup_platform.evaluation.corpus_growth import wrong_per_image
from neardup_platform.evaluation.corpus_size_metrics import measured_rates
from neardup_platform.evaluation.matplotlib_growth import Limits, draw_recall_by_size, draw_tail, draw_wrong_matches
from neardup_platform.evaluation.matplotlib_scores import (
    draw_cluster_sizes,
    draw_precision_recall,
    draw_reliability,
    draw_score_histograms,
)
from neardup_platform.evaluation.measures import TARGET_PRECISION, pair_curve, pairs_within
from neardup_platform.evaluation.outcome import Evaluation, Outcome

_PER_1000 = 1_000


def plots_of_scores(evaluation: Evaluation, whole: Outcome, measured: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Cluster sizes; scores, reliability, precision and recall if any pair was scored.

    Args:
        evaluation: to report.
        whole: its runs side by side.
        measured: its `metrics`.
    """
    sizes = {int(size): count for size, count in measured["cluster_sizes"].items()}
    true_sizes = Counter(Counter(whole.groups.tolist()).values())
    yield _plot("Cluster sizes", lambda dark: draw_cluster_sizes(sizes, groups=true_sizes, dark=dark))
    if not len(whole.scores):
        return
    threshold = evaluation.runs[0].matching.threshold if len(evaluation.runs) == 1 else None
    yield _plot(
        "Scores of pairs",
        lambda dark: draw_score_histograms(whole.scores, whole.true, threshold=threshold, dark=dark),
    )
    yield _plot("Reliability", lambda dark: draw_reliability(whole.scores, whole.true, dark=dark))
    curve = pair_curve(whole.scores, whole.true, pairs_within(whole.groups.tolist()) - int(whole.true.sum()))
    if curve is not None:
        interval = measured["pair_recall_at_p99_low"], measured["pair_recall_at_p99_high"]
        yield _plot(
            "Precision and recall of pairs",
            lambda dark: draw_precision_recall(curve, target=TARGET_PRECISION, interval=interval, dark=dark),
        )


def plots_by_size(evaluation: Evaluation, whole: Outcome, measured: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Wrong matches and recall by corpus size, and wrong matches by threshold; nothing without a scored pair.

    Args:
        evaluation: to report.
        whole: its runs side by side.
        measured: its `metrics`.
    """
    rows = measured["by_corpus_size"]
    if not len(whole.scores):
        return
    found = measured_rates(evaluation, whole)
    per_1000 = _PER_1000 * found.rates.true_per_image * float(found.rates.found[found.at])
    candidates = max(run.matching.max_candidates for run in evaluation.runs)
    limits = Limits(per_1000 * (1 - TARGET_PRECISION) / TARGET_PRECISION, _PER_1000 * candidates)
    yield _plot("Wrong matches by corpus size", lambda dark: draw_wrong_matches(rows, limits, dark=dark))
    counted = _PER_1000 * wrong_per_image(found.rates.counted, found.images)
    fitted = None
    if found.tail is not None:
        by_tail = _PER_1000 * wrong_per_image(found.rates.wrong, found.images)
        fitted = np.where(found.rates.levels > found.tail.start, by_tail, np.nan)
        yield _plot("Recall at 99% precision by corpus size", lambda dark: draw_recall_by_size(rows, dark=dark))
    yield _plot(
        "Wrong matches by threshold",
        lambda dark: draw_tail(found.rates.levels, counted, fitted, threshold=found.threshold, dark=dark),
    )


def data_uri(content: bytes, kind: str) -> str:
    """An image as a data URI; `kind` is png or jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _plot(title: str, draw: Callable[[bool], bytes]) -> dict[str, str]:
    return {"title": title, "light": data_uri(draw(False), "png"), "dark": data_uri(draw(True), "png")}
