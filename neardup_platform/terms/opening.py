"""Opens the term index that the settings describe; one of another version is sorted again or emptied first.

Its cells are those of `terms.cells`. Where that is not set, the index on disk says which: so every process follows the
worker, which exchanges them while it runs (stream/cells/).
"""

import logging
from dataclasses import replace
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.progress import Progress, no_progress
from neardup_platform.settings import Settings, TermSettings
from neardup_platform.terms.cells import cells_of_index, cells_path, load_cells
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import TermSpace, load_term_space
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.json_manifest import read_manifest
from neardup_platform.terms.sort_again import sort_again

log = logging.getLogger(__name__)


def load_search_space(settings: Settings, recorded: str = "") -> TermSpace:
    """Reads the term space with the active cells: what an index needs.

    Without `terms.cells`, a file of cells that is missing or damaged leads to the cells of the term space.

    Args:
        recorded: version of the cells that the store names last, for an index that is missing or damaged; empty for
            those of the term space.

    Raises:
        BadArtefact: a file that the settings name is missing or damaged, or the cells are of another space.
    """
    terms = settings.terms
    space = load_term_space(terms.space)
    if terms.cells is not None:
        fitted = load_cells(terms.cells, space.version, space.words)
        return searched_space(replace(space, fitted=fitted), terms)
    try:
        return _with_cells(settings, space, _version_on_disk(settings.index_path, space, recorded))
    except BadArtefact as error:
        log.error("%s; the cells of the term space are used", error)
    return searched_space(space, terms)


def space_with_cells(settings: Settings, version: str) -> TermSpace:
    """Reads the term space with fitted cells of a version kept under `NEARDUP_HOME`; empty: with its own.

    Raises:
        BadArtefact: a file is missing or damaged, or the cells are of another space or of another content.
    """
    return _with_cells(settings, load_term_space(settings.terms.space), version)


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


def _with_cells(settings: Settings, space: TermSpace, version: str) -> TermSpace:
    if not version:
        return searched_space(space, settings.terms)
    path = cells_path(settings.home, version)
    fitted = load_cells(path, space.version, space.words)
    if fitted.version != version:
        raise BadArtefact(f"cells {path}: they are {fitted.version}, another content than the name says: fit new cells")
    return searched_space(replace(space, fitted=fitted), settings.terms)


def _version_on_disk(folder: Path, space: TermSpace, recorded: str) -> str:
    try:
        manifest = read_manifest(folder)
    except BadArtefact:
        return recorded
    if manifest is None or manifest.version.split("+")[0] != space.version:
        return recorded
    return cells_of_index(manifest.version)
