"""Opens the term index that the settings describe; one of another version is sorted again or emptied first."""

from dataclasses import replace
from pathlib import Path

from neardup_platform.progress import Progress, no_progress
from neardup_platform.settings import TermSettings
from neardup_platform.terms.cells import load_cells
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import TermSpace, load_term_space
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.sort_again import sort_again


def load_search_space(settings: TermSettings) -> TermSpace:
    """Reads the term space with the cells that the settings name: what an index needs.

    Raises:
        BadArtefact: a file is missing or damaged, or the cells are of another space.
    """
    space = load_term_space(settings.space)
    if settings.cells is not None:
        space = replace(space, fitted=load_cells(settings.cells, space.version, space.words))
    return searched_space(space, settings)


def searched_space(space: TermSpace, settings: TermSettings) -> TermSpace:
    """Returns a term space that says whether an index holds signatures: only where equal terms are asked for."""
    return replace(space, by_cosine=settings.ranking == "cosine" and settings.min_overlap == 0)


def open_index(
    folder: Path | None,
    space: TermSpace,
    settings: TermSettings,
    source: str = "",
    *,
    writable: bool = True,
    known: TermIndex | None = None,
    progress: Progress = no_progress,
) -> TermIndex:
    """Opens a term index according to the settings; arguments as of `TermIndex`."""
    space = searched_space(space, settings)
    if folder is not None and writable:
        sort_again(folder, space, progress)
    return TermIndex(
        *(folder, space, Effort.of(settings, fitted=space.fitted is not None)),
        threads=settings.threads,
        source=source,
        writable=writable,
        known=known,
        progress=progress,
    )
