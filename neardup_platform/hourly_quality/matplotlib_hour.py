"""Plots of an hour as PNG, for the pages of its assets and for reports."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter

from neardup_platform.evaluation.matplotlib_panel import legend, panel_of, png


def draw_counts(counts: Mapping[str, float], unit: str, *, bad: Collection[str] = (), dark: bool = False) -> bytes:
    """Named counts as bars, one below the other.

    Args:
        counts: in the order to show.
        unit: of what they count.
        bad: names in the colour of what should not be.
        dark: for a dark background.
    """
    figure, panel, theme = panel_of(dark)
    names = list(counts)[::-1]
    values = [counts[name] for name in names]
    bars = panel.barh(names, values, color=[theme.false if name in bad else theme.true for name in names])
    panel.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3, color=theme.ink, fontsize=9)
    panel.margins(x=0.15)
    panel.set_axisbelow(True)
    panel.set(xlabel=unit)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return png(figure)


def draw_shares(
    found: Sequence[int],
    expected: Sequence[int],
    edges: Sequence[str],
    xlabel: str,
    names: tuple[str, str] = ("this hour", "the hours before"),
    *,
    dark: bool = False,
) -> bytes:
    """Two histograms with the same bins, as shares of their sums; one that is empty is left out.

    Args:
        found, expected: counts by bin.
        edges: what to call the bins; an empty name is not shown.
        names: of the two.
    """
    figure, panel, theme = panel_of(dark)
    at = np.arange(len(found))
    for counts, name, colour, shift in zip(
        (found, expected), names, (theme.true, theme.false), (-0.2, 0.2), strict=True
    ):
        if sum(counts):
            panel.bar(at + shift, np.asarray(counts) / sum(counts), 0.4, color=colour, label=name)
    shown = [number for number, edge in enumerate(edges) if edge]
    panel.set_xticks(shown, [edges[number] for number in shown])
    # Room for the legend.
    panel.margins(y=0.2)
    panel.set_axisbelow(True)
    panel.set(xlabel=xlabel, ylabel="share of images")
    legend(panel, theme, "upper right")
    return png(figure)
