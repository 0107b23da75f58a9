"""The plot of `neardup bench search`: recall against queries per second, one line per engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neardup_platform.bench.matplotlib_png import save_png

OURS, FITTED = "neardup", "neardup, fitted cells"
_TICKS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0)
_MOST, _ROOM = 1.002, 0.006
_WIDTH_IN, _HEIGHT_IN = 9.0, 4.8

Row = dict[str, Any]


def frontier(rows: Sequence[Row]) -> list[Row]:
    """The rows of one engine that no other row of it beats in both recall and `qps_2`, by ascending recall."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda r: (-r["recall"], -r["qps_2"])):
        if not best or row["qps_2"] > best[-1]["qps_2"]:
            best.append(row)
    return best[::-1]


def draw_frontier(rows: Sequence[Row], path: Path) -> None:
    """Draw the rows, one panel for each corpus size, as a PNG readable at the width of a README.

    Raises:
        SetupError: the file cannot be written.
    """
    rows = [row for row in rows if "cluster_members" not in row]
    sizes = sorted({row["docs"] for row in rows}, reverse=True)
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN * len(sizes)), layout="constrained")
    panels = figure.subplots(len(sizes), squeeze=False)[:, 0]
    for panel, docs in zip(panels, sizes, strict=True):
        _draw_panel(panel, [row for row in rows if row["docs"] == docs])
        panel.set_title(f"{docs:,} images, two cores")
    save_png(figure, path)


def _draw_panel(panel: Any, rows: Sequence[Row]) -> None:
    # Ours last, so that it is on top.
    names = sorted(dict.fromkeys(row["engine"] for row in rows), key=lambda name: (_is_ours(name), name == FITTED))
    for number, name in enumerate(names):
        own = [row for row in rows if row["engine"] == name]
        line, ours = frontier(own), _is_ours(name)
        colour = ("black" if name in (FITTED, names[-1]) else "dimgray") if ours else f"C{number}"
        style = {"color": colour, "linewidth": 2.6 if ours else 1.3, "linestyle": "-" if colour != "dimgray" else "--"}
        panel.plot(_column(line, "recall"), _column(line, "qps_2"), label=name, zorder=2 + ours, **style)
        panel.scatter(
            _column(own, "recall"), _column(own, "qps_2"), s=36 if ours else 18, color=colour, zorder=3 + ours
        )
        above = colour == "black"
        for row in line:
            panel.annotate(
                _short(row["setting"]),
                (row["recall"], row["qps_2"]),
                xytext=(4, 7) if above else (-4, -4),
                textcoords="offset points",
                horizontalalignment="left" if above else "right",
                verticalalignment="bottom" if above else "top",
                # Our points are close together; slanted, their labels do not overlap.
                rotation=20 if above else 0,
                fontsize=7,
                color=colour,
            )
    panel.set_yscale("log")
    # By the logarithm of the misses; otherwise the relevant part would be crowded at the right edge.
    panel.set_xscale("function", functions=(_missed_log, _recall_of))
    least = min(row["recall"] for row in rows)
    panel.set_xticks([tick for tick in _TICKS if tick >= least - 0.05])
    panel.set_xlim(least - 0.2 * (_MOST - least), _MOST)
    panel.margins(y=0.22)
    panel.set_xlabel("recall of the true pairs that exhaustive cosine search finds")
    panel.set_ylabel("queries per second")
    panel.grid(which="both", alpha=0.25)
    panel.legend(loc="lower left", fontsize=8)


def _is_ours(engine: str) -> bool:
    return engine.startswith(OURS)


def _column(rows: Sequence[Row], name: str) -> list[float]:
    return [row[name] for row in rows]


def _missed_log(recall: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-np.log(np.maximum(_MOST + _ROOM - recall, _ROOM)))


def _recall_of(missed_log: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(_MOST + _ROOM - np.exp(-missed_log))


def _short(setting: str) -> str:
    """A short label for a point: numbers in thousands and millions."""
    return setting.replace(",000,000", "M").replace(",000", "k")
