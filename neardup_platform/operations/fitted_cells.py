"""Fitted cells of the term index: what is in use, whether others are due, fitting and exchanging them.

Store → sample → **cells, written to `NEARDUP_HOME/cells/`** → `use-cells` → worker.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neardup_platform.errors import SetupError
from neardup_platform.settings import Settings
from neardup_platform.store.cells import GROWTH, cells_are_due, recorded_cells
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.wire.command_arguments import TERM_SPACE


@dataclass(frozen=True, slots=True)
class Exchange:
    """A time from which on other cells were active.

    Attributes:
        cells: a version of fitted cells, or `term-space`.
        after_sequence: of the last decision made with the previous ones.
        images: known then.
        command_id, by: empty where a start found them: by the settings, or by what was on the disk.
    """

    cells: str
    after_sequence: int
    at_ms: int
    images: int
    command_id: str
    by: str


@dataclass(frozen=True, slots=True)
class CellsStatus:
    """The cells of a store.

    Attributes:
        cells: in use: a version of fitted cells, or `term-space`.
        pinned: the file that `terms.cells` names; empty for none.
        images: of the store.
        due: whether the settings ask for fitting others now.
        next_images: the size at which others will be due; None for never.
        exchanges: oldest first, the last ten.
    """

    cells: str
    pinned: str
    images: int
    due: bool
    next_images: int | None
    exchanges: Sequence[Exchange]

    def flat(self) -> dict[str, Any]:
        """As the command line prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fitted:
    """Cells that were fitted and written.

    Attributes:
        images: of the sample.
    """

    version: str
    path: Path
    cells: int
    images: int


def cells_status(settings: Settings) -> CellsStatus:
    """Read which cells a store has; the worker may run.

    Raises:
        SetupError: there is no store.
    """
    if not settings.store_path.exists():
        raise SetupError(f"there is no store at {settings.store_path}: no worker has run yet")
    with (
        TemporaryDirectory(prefix="neardup-cells-") as scratch,
        closing(SecondaryStore(settings.store_path, Path(scratch))) as store,
    ):
        state = store.state()
    least = 0 if settings.terms.cells is not None else settings.terms.fit_cells_from
    exchanges = [
        Exchange(
            each.version or TERM_SPACE, each.after_sequence, each.at_ms, each.images, each.command_id, each.issued_by
        )
        for each in state.cells
    ]
    due, last = cells_are_due(state, least), state.cells[-1].images if state.cells else 0
    return CellsStatus(
        recorded_cells(state) or TERM_SPACE,
        str(settings.terms.cells or ""),
        state.images,
        due,
        None if not least else state.images if due else max(least, GROWTH * last),
        exchanges,
    )


def fit_store_cells(settings: Settings, least: int, report: Callable[[str], None]) -> Fitted:
    """Fit cells to a sample of the store and write them; the worker may run.

    Args:
        least: images that the index must hold.
        report: called with a line about the current step.

    Raises:
        SetupError: there is no store, it is of another term space or too small, or the disk is full.
        BadArtefact: the term space cannot be read.
    """
    # faiss takes a while to import.
    from neardup_platform.learning.terms.store_cells import MOST_SAMPLED, write_fitted_cells
    from neardup_platform.stream.sample_vectors import sample_vectors
    from neardup_platform.terms.hyperplanes import load_term_space

    space = load_term_space(settings.terms.space)
    unit = sample_vectors(settings, space, MOST_SAMPLED, report)
    report(f"fitting cells to {len(unit):,} images")
    cells, path = write_fitted_cells(space, unit, settings.home / "cells", least)
    return Fitted(cells.version, path, len(cells), len(unit))


def status_in_words(answer: Mapping[str, Any]) -> str:
    """Which cells a store has, and when others will be fitted."""
    pinned = f", pinned by terms.cells = {answer['pinned']}" if answer["pinned"] else ""
    following = answer["next_images"]
    when = "never fitted without being asked" if following is None else f"fitted again at {following:,} images"
    lines = [f"cells {answer['cells']}{pinned}, {answer['images']:,} images"]
    lines.append("others are due now" if answer["due"] else f"others are {when}")
    lines += [
        f"{each['cells']:>17}  after decision {each['after_sequence']:,}, at {each['images']:,} images"
        + (f", by {each['by']}" if each["by"] else "")
        for each in answer["exchanges"]
    ]
    return "\n".join(lines)


def exchange_in_words(answer: Mapping[str, Any]) -> str:
    """What `use-cells` did."""
    if answer["cells"] == answer["replaced"]:
        return f"cells {answer['cells']} are active already"
    return (
        f"cells {answer['cells']} are active in place of {answer['replaced']}, from decision "
        f"{answer['sequence'] + 1:,} on; to go back: neardup cells use {answer['replaced']}"
    )
