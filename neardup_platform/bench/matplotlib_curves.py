"""The plot of `neardup bench accuracy`: precision against recall over all pictures, one line per method."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from neardup_platform.bench.accuracy import OURS, Measured
from neardup_platform.bench.matplotlib_png import save_png

_WIDTH_IN, _HEIGHT_IN = 7.0, 4.8


def draw_curves(measured: Sequence[Measured], path: Path) -> None:
    """Draw every method over all thresholds, with a point at its operating point, as a PNG.

    Raises:
        SetupError: the file cannot be written.
    """
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), layout="constrained")
    panel = figure.subplots()
    for number, each in enumerate(measured):
        curve, ours = each.lines[0].curve, each.method == OURS
        if curve is None:
            continue
        look: dict[str, Any] = {"color": "black" if ours else f"C{number}", "zorder": 2 + ours}
        label = f"{each.method}, {each.setting}"
        panel.step(curve.recall, curve.precision, where="post", label=label, linewidth=3.0 if ours else 1.3, **look)
        # Thresholds descend: the last one at or above the operating point is where it lies.
        at = int(np.count_nonzero(curve.thresholds >= each.threshold)) - 1
        if at >= 0:
            panel.plot([curve.recall[at]], [curve.precision[at]], marker="o", markersize=8 if ours else 6, **look)
    panel.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    panel.set_title(f"{measured[0].lines[0].pictures:,} pictures, {measured[0].lines[0].true_pairs:,} true pairs")
    panel.grid(alpha=0.25)
    panel.legend(loc="best", fontsize=8)
    save_png(figure, path)
