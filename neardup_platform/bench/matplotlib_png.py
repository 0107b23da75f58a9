"""Figures of the benchmarks as PNG files."""

from pathlib import Path

from matplotlib.figure import Figure

from neardup_platform.errors import SetupError

_DPI = 120


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure.

    Raises:
        SetupError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=_DPI, format="png")
    except OSError as error:
        raise SetupError(f"the plot cannot be written to {path} ({error}): name another file") from error
