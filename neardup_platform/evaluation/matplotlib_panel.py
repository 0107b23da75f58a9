"""The panel that every plot of an evaluation is drawn in: size, colours, PNG; light or dark."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_IN, _HEIGHT_IN, _DPI = 5.6, 3.7, 160


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours: of the background, of text, of grid lines, of near-duplicates, of different pictures."""

    paper: str
    ink: str
    faint: str
    true: str
    false: str


# Blue and orange are distinguishable for people with red-green colour blindness.
_LIGHT = Theme("#ffffff", "#1d2430", "#c3c9d3", "#2463c9", "#d9731a")
_DARK = Theme("#161a22", "#e6e9ef", "#454d5c", "#74a7ff", "#ffa45c")


def panel_of(dark: bool) -> tuple[Figure, "Axes", Theme]:
    """An empty figure with one panel, in the colours of a light or dark background."""
    theme = _DARK if dark else _LIGHT
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), layout="constrained", facecolor=theme.paper)
    panel = figure.subplots()
    panel.set_facecolor(theme.paper)
    panel.tick_params(colors=theme.ink, which="both", labelsize=9)
    panel.xaxis.label.set_color(theme.ink)
    panel.yaxis.label.set_color(theme.ink)
    panel.grid(color=theme.faint, alpha=0.4, linewidth=0.6)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
    return figure, panel, theme


def legend(panel: "Axes", theme: Theme, place: Literal["best", "upper left", "upper right"] = "best") -> None:
    """Add a legend without a frame; matplotlib takes long to find the best place among many points."""
    panel.legend(loc=place, frameon=False, labelcolor=theme.ink, fontsize=9)


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, dpi=_DPI, format="png")
    return content.getvalue()
