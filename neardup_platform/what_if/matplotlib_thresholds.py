"""Plots of a what-if over match thresholds, each a PNG: for the HTML report and for Dagster."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter

from neardup_platform.evaluation.matplotlib_panel import Theme, legend, panel_of, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = {"joined": "-", "founded": "--", "moved": ":"}
_LABELS = {"joined": "would join", "founded": "would found their own", "moved": "would go to another"}


def draw_changes(rows: Sequence[Mapping[str, Any]], *, tried: float | None = None, dark: bool = False) -> bytes:
    """Images that would be elsewhere against the match threshold, as PNG.

    Args:
        rows: of `WhatIf.by_threshold`, ascending.
        tried: threshold to mark.
        dark: for a dark background.
    """
    figure, panel, theme = panel_of(dark)
    at = [row["match"] for row in rows]
    colours = {"joined": theme.true, "founded": theme.false, "moved": theme.ink}
    for name, label in _LABELS.items():
        counts = [row[name] for row in rows]
        panel.plot(at, counts, _STYLES[name], color=colours[name], label=label, marker=".", linewidth=1.8)
    _mark(panel, theme, tried)
    panel.set(xlabel="match threshold, the same for every image", ylabel="images", ylim=(0, None))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    legend(panel, theme)
    return png(figure)


def draw_labels(rows: Sequence[Mapping[str, Any]], *, tried: float | None = None, dark: bool = False) -> bytes:
    """Precision and recall on labelled pairs against the match threshold, as PNG; arguments as for `draw_changes`."""
    figure, panel, theme = panel_of(dark)
    for name, colour, style in (("precision", theme.true, "-"), ("recall", theme.false, "--")):
        known = [(row["match"], row[name]) for row in rows if row[name] is not None]
        if known:
            panel.plot(*zip(*known, strict=True), style, color=colour, label=name, marker=".", linewidth=1.8)
    _mark(panel, theme, tried)
    panel.set(xlabel="match threshold, the same for every image", ylabel="of labelled pairs", ylim=(0, 1.03))
    legend(panel, theme)
    return png(figure)


def _mark(panel: "Axes", theme: Theme, tried: float | None) -> None:
    if tried is not None:
        panel.axvline(tried, color=theme.ink, linewidth=1, alpha=0.5, label=f"tried: {tried:.3g}")
