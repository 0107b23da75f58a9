"""Plots of what becomes of wrong matches as the corpus grows and as the threshold rises, each a PNG.

Rows by corpus size, rates by threshold → **plots** → HTML report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from neardup_platform.evaluation.matplotlib_panel import Theme, legend, panel_of, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCORES = 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999


@dataclass(frozen=True, slots=True)
class Limits:
    """Wrong matches per 1,000 images to compare with.

    Attributes:
        allowed: as many as the target precision allows.
        possible: as many as there are if every candidate of every image is wrong.
    """

    allowed: float
    possible: float


def draw_wrong_matches(rows: Sequence[Mapping[str, Any]], limits: Limits, *, dark: bool = False) -> bytes:
    """Wrong matches per 1,000 images against the size of the corpus, both logarithmic, as PNG.

    Measured sizes have points with 95% intervals; the line continues into the extrapolation, which is shaded.

    Args:
        rows: of `by_corpus_size`.
        limits: drawn as lines.
        dark: for a dark background.
    """
    figure, panel, theme = panel_of(dark)
    low, value, high = (_column(rows, f"wrong_matches_per_1000{end}") for end in ("_low", "", "_high"))
    sizes = _by_size(panel, rows, theme)
    measured = np.array([not row["extrapolated"] for row in rows])
    # A logarithmic scale has no zero: an interval that reaches it starts at the bottom.
    bottom = 0.3 * min(limits.allowed or np.inf, *value[value > 0], *low[low > 0], high.min())
    panel.fill_between(sizes, np.maximum(low, bottom), high, color=theme.false, alpha=0.18, linewidth=0)
    panel.plot(sizes, np.where(value > 0, value, np.nan), color=theme.false, linewidth=1.4, linestyle="--")
    panel.vlines(sizes[measured], np.maximum(low, bottom)[measured], high[measured], color=theme.false, linewidth=1.4)
    shown = measured & (value > 0)
    panel.plot(sizes[shown], value[shown], "o", color=theme.false, markersize=5, label="measured")
    for level, label in ((limits.allowed, "99% precision"), (limits.possible, "every candidate wrong")):
        if not level:
            continue
        panel.axhline(level, color=theme.ink, linestyle=":", linewidth=1)
        panel.annotate(
            label, (0.99, level), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points",
            ha="right", color=theme.ink, fontsize=9,
        )  # fmt: skip
    panel.set_yscale("log")
    panel.set(ylim=(bottom, 100 * max(limits.possible, high.max())), ylabel="wrong matches per 1,000 images")
    legend(panel, theme, "upper left")
    return png(figure)


def draw_recall_by_size(rows: Sequence[Mapping[str, Any]], *, dark: bool = False) -> bytes:
    """Recall at the threshold that keeps 99% precision against the size of the corpus, as PNG.

    Args:
        rows: of `by_corpus_size`, with known recall.
        dark: for a dark background.
    """
    figure, panel, theme = panel_of(dark)
    low, value, high = (_column(rows, f"recall_at_p99{end}") for end in ("_low", "", "_high"))
    sizes = _by_size(panel, rows, theme)
    panel.fill_between(sizes, low, high, color=theme.true, alpha=0.18, linewidth=0)
    panel.plot(sizes, value, color=theme.true, linewidth=1.4, marker="o", markersize=5)
    if not value.any():
        panel.annotate("no threshold reaches it", (0.5, 0.5), xycoords="axes fraction", ha="center", color=theme.ink)
    panel.set(ylim=(-0.02, 1.04), ylabel="recall at 99% precision")
    return png(figure)


def draw_tail(
    levels: NDArray[np.float64],
    counted: NDArray[np.float64],
    fitted: NDArray[np.float64] | None,
    *,
    threshold: float,
    dark: bool = False,
) -> bytes:
    """Wrong matches per 1,000 images against the threshold: counted, and by the tail fitted to them, as PNG.

    Args:
        levels: float64 [t], thresholds as logits.
        counted: float64 [t], wrong matches per 1,000 images.
        fitted: float64 [t], NaN below the start of the tail; None if there is none.
        threshold: of a match, as a logit; drawn as a line.
        dark: for a dark background.
    """
    figure, panel, theme = panel_of(dark)
    panel.step(levels, np.where(counted > 0, counted, np.nan), where="post", color=theme.false, linewidth=1.8,
               label="counted")  # fmt: skip
    if fitted is not None:
        panel.plot(levels, fitted, color=theme.ink, linewidth=1.2, linestyle="--", label="fitted tail")
    panel.axvline(threshold, color=theme.ink, linestyle=":", linewidth=1)
    ticks = [score for score in _SCORES if levels[0] - 0.1 <= logit(score) <= levels[-1]]
    panel.set_xticks([float(logit(score)) for score in ticks], [f"{score:g}" for score in ticks], rotation=30)
    panel.set_yscale("log")
    panel.set(xlim=(levels[0], levels[-1]), xlabel="threshold", ylabel="wrong matches per 1,000 images")
    panel.set_ylim(*((0.3 * counted[counted > 0].min(), None) if counted.any() else (0.1, 10)))
    legend(panel, theme, "upper right")
    return png(figure)


def nines(score: float) -> str:
    """A score with as many digits as its distance from 1 needs: 0.495, 0.99987."""
    distance = max(1 - score, 1e-9)
    return f"{score:.{max(3, int(np.ceil(-np.log10(distance))) + 1)}f}"


def _by_size(panel: "Axes", rows: Sequence[Mapping[str, Any]], theme: Theme) -> NDArray[np.float64]:
    """Prepare the axis of corpus sizes and shade what is extrapolated; returns the sizes."""
    sizes = _column(rows, "images")
    measured = max(row["images"] for row in rows if not row["extrapolated"])
    panel.set_xscale("log")
    panel.set(xlim=(sizes[0] / 1.6, sizes[-1] * 1.6), xlabel="images in the corpus")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if sizes[-1] > measured:
        panel.axvspan(measured, sizes[-1] * 1.6, color=theme.faint, alpha=0.25, linewidth=0, label="extrapolated")
    return sizes


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    return np.array([row[name] for row in rows], np.float64)
