"""Cells of the term index as a file: what the asset `search_cells` does with a sample of the store.

Sample → **fit** → `<version>.npz`
"""

from pathlib import Path

from neardup_platform.errors import SetupError
from neardup_platform.learning.terms.fit_cells import MOST_CELLS, MOST_PER_CELL, fit_cells
from neardup_platform.terms.cells import Cells, save_cells
from neardup_platform.terms.hyperplanes import TermSpace, Vectors

MOST_SAMPLED = MOST_CELLS * MOST_PER_CELL


def write_fitted_cells(space: TermSpace, unit: Vectors, folder: Path, least: int) -> tuple[Cells, Path]:
    """Fit cells and write them; returns them and the file.

    Args:
        space: of the store.
        unit: float32 [n, dim], as of `fit_cells`.
        folder: of the file.
        least: images that there must be.

    Raises:
        SetupError: there are too few images, or the disk is full.
    """
    if len(unit) < least:
        raise SetupError(
            f"the index holds {len(unit):,} images, too few to fit cells to: at least {least:,} are needed, and a "
            "small corpus is searched whole in any case"
        )
    cells = fit_cells(space, unit)
    path = folder / f"{cells.version}.npz"
    try:
        save_cells(cells, path)
    except OSError as error:
        raise SetupError(f"cells cannot be written to {path}: {error}; free some disk and try again") from error
    return cells, path
