"""Plots of how well scores and clusters fit the truth, each a PNG: for the HTML report and for Dagster.

Scored pairs, cluster sizes → **plots**. All functions take plain arrays, so any scores and labels can be plotted.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from neardup_platform.evaluation.matplotlib_panel import legend, panel_of, png
from neardup_platform.evaluation.score_uncertainty import UNCERTAIN, equal_mass_bins, uncertain
from neardup_platform.scoring.calibration import PrecisionRecall, wilson_interval

_HISTOGRAM_BINS = 40


def draw_precision_recall(
    curve: PrecisionRecall, *, target: float = 0.99, interval: tuple[float, float] | None = None, dark: bool = False
) -> bytes:
    """Precision against recall over all thresholds, as PNG.

    Args:
        curve: recall among all true pairs, including those never scored.
        target: precision to mark.
        interval: of the recall at that precision; drawn as a band.
        dark: for a dark background.
    """
    figure, panel, theme = panel_of(dark)
    panel.step(curve.recall, curve.precision, where="post", color=theme.true, linewidth=1.8)
    panel.axhline(target, color=theme.ink, linestyle=":", linewidth=1)
    reached = curve.recall[curve.precision >= target]
    if len(reached):
        recall = float(reached.max())
        if interval is not None:
            panel.axvspan(*interval, color=theme.true, alpha=0.15, linewidth=0)
        panel.plot([recall], [target], marker="o", color=theme.true, markersize=6)
        place, side = ((-12, -44), "right") if recall > 0.5 else ((12, -44), "left")
        label = f"recall {recall:.3f}\nat {target:.0%} precision"
        panel.annotate(label, (recall, target), xytext=place, textcoords="offset points", ha=side, color=theme.ink)
    panel.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    return png(figure)


def draw_reliability(scores: NDArray[np.float32], true: NDArray[np.bool_], *, dark: bool = False) -> bytes:
    """Share of true pairs against score, with 95% intervals, as PNG: on the diagonal, scores are probabilities.

    Uncertain pairs are split into bins of equal mass; clear pairs form one bin at either end.

    Args:
        scores: float32 [m].
        true: bool [m].
        dark: for a dark background.
    """
    figure, panel, theme = panel_of(dark)
    panel.plot([0, 1], [0, 1], color=theme.faint, linewidth=1.2)
    hard = np.flatnonzero(uncertain(scores))
    bins = [hard[part] for part in equal_mass_bins(scores[hard])]
    bins += [np.flatnonzero(scores <= UNCERTAIN[0]), np.flatnonzero(scores >= UNCERTAIN[1])]
    for part in filter(len, bins):
        hits, at = int(true[part].sum()), float(scores[part].mean())
        low, high = wilson_interval(hits, len(part))
        panel.plot([at, at], [low, high], color=theme.true, linewidth=1.4, alpha=0.6)
        panel.plot([at], [hits / len(part)], marker="o", markersize=5, color=theme.true)
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="mean score", ylabel="share of true pairs")
    return png(figure)


def draw_score_histograms(
    scores: NDArray[np.float32],
    true: NDArray[np.bool_],
    *,
    threshold: float | None = None,
    dark: bool = False,
) -> bytes:
    """Numbers of true and of other pairs by score, on a logarithmic scale, as PNG.

    Args:
        scores: float32 [m].
        true: bool [m].
        threshold: of a match; drawn as a line.
        dark: for a dark background.
    """
    figure, panel, theme = panel_of(dark)
    edges = np.linspace(0, 1, _HISTOGRAM_BINS + 1)
    for truth, colour, label in ((False, theme.false, "different"), (True, theme.true, "near-duplicates")):
        counts = np.histogram(scores[true == truth], edges)[0]
        # Half a pair represents none, because a logarithmic scale has no zero.
        panel.stairs(np.maximum(counts, 0.5), edges, color=colour, linewidth=1.8, label=label, fill=False)
        panel.stairs(np.maximum(counts, 0.5), edges, color=colour, alpha=0.12, fill=True, baseline=0.5)
    if threshold is not None:
        panel.axvline(threshold, color=theme.ink, linestyle=":", linewidth=1)
        panel.annotate(
            "match", (threshold, 0.97), xycoords=("data", "axes fraction"), xytext=(-4, 0),
            textcoords="offset points", ha="right", va="top", color=theme.ink,
        )  # fmt: skip
    panel.set_yscale("log")
    panel.set(xlim=(0, 1), ylim=(0.5, None), xlabel="score", ylabel="pairs")
    legend(panel, theme)
    return png(figure)


def draw_cluster_sizes(
    sizes: Mapping[int, int], *, groups: Mapping[int, int] | None = None, dark: bool = False
) -> bytes:
    """Number of clusters by size, both logarithmic, as PNG.

    Args:
        sizes: size → number of clusters.
        groups: size → number of true groups, for comparison.
        dark: for a dark background.
    """
    figure, panel, theme = panel_of(dark)
    if groups is not None:
        panel.plot(*_points(groups), "o", color=theme.false, markersize=8, fillstyle="none", label="true groups")
    panel.plot(*_points(sizes), "o", color=theme.true, markersize=4.5, label="clusters")
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.set(xlabel="images in it", ylabel="clusters")
    legend(panel, theme)
    return png(figure)


def _points(sizes: Mapping[int, int]) -> tuple[list[int], list[int]]:
    return sorted(sizes), [sizes[size] for size in sorted(sizes)]
