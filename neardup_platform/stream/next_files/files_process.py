"""The process that makes the files of the next store, or an index with other cells, as `remote_files.py` calls it."""

from functools import partial
from pathlib import Path

from neardup_platform.settings import Settings
from neardup_platform.stream.cells.make_index import IndexOrder, make_index
from neardup_platform.stream.child_server import Worker, serve
from neardup_platform.stream.next_files.make_files import FilesOrder, make_files
from neardup_platform.stream.next_files.remote_files import Made
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.opening import load_search_space, open_index, space_with_cells


def _make(worker: Worker, order: FilesOrder | IndexOrder) -> Made:
    settings = worker.settings()
    if isinstance(order, IndexOrder):
        space = space_with_cells(settings, order.cells)
        make_index(order, partial(_open_index, settings, space), worker.advance)
    else:
        space = load_search_space(settings)
        make_files(order, space, partial(_open_index, settings, space), worker.advance)
    return Made()


def _open_index(settings: Settings, space: TermSpace, folder: Path, source: str) -> TermIndex:
    return open_index(folder, space, settings.terms, source)


if __name__ == "__main__":
    serve(lambda worker: partial(_make, worker))
