"""The plot of a tuning: recall against bytes per image, one line for each number of candidates."""

import io

from matplotlib.figure import Figure

from neardup_platform.learning.terms.tune_terms import Tuned

_WIDTH_IN, _HEIGHT_IN, _DPI = 7.0, 4.2, 80


def draw_tuning(tuned: Tuned) -> bytes:
    """Draw the grid as a PNG: each line is the best recall for its bytes; the choice is marked."""
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), layout="constrained")
    panel = figure.subplots()
    for number, within in enumerate(tuned.rows[0].within):
        points = [(row.bytes_per_image, row.within[number].recall) for row in tuned.rows]
        best = sorted({size: max(recall for s, recall in points if s == size) for size, _ in points}.items())
        panel.plot(*zip(*best, strict=True), marker=".", label=f"first {within.k:,}")
    panel.axhline(tuned.target.recall, color="grey", linestyle="--", linewidth=1)
    choice = tuned.chosen.bytes_per_image, tuned.candidates.recall
    panel.scatter(*choice, s=110, facecolors="none", edgecolors="black", zorder=3)
    panel.annotate(f"{tuned.chosen.tables}×{tuned.chosen.bits}", choice, xytext=(8, -14), textcoords="offset points")
    panel.set_xlabel("bytes per image")
    panel.set_ylabel(f"recall among {tuned.target.images:,} images")
    panel.grid(alpha=0.25)
    panel.legend(title="candidates", loc="lower right", fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, dpi=_DPI, format="png")
    return content.getvalue()
