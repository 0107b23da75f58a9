"""An index that was sorted by other cells, or holds something else of an image → **one of the present term space**.

Fitted cells are signatures, so a segment that holds signatures has what is needed to sort it by them; it is cut into
pieces that fit into memory, which the index merges later. Heads, and cells of the term space, need vectors: otherwise
the index is emptied, and the worker fills it from its vectors. The old manifest counts until the new one replaces it.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.progress import Progress
from neardup_platform.terms.cells import Cells
from neardup_platform.terms.heads import VERSION as HEADS_VERSION
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.json_manifest import Manifest, read_manifest, write_manifest
from neardup_platform.terms.mmap_segment import Segment, memory_segment, open_segment, segment_name, write_segment
from neardup_platform.terms.window import Rows

log = logging.getLogger(__name__)

# Ordinals of one piece: 300 MB of memory with signatures of 2,040 bits.
PIECE = 1 << 20
_THREADS, _ROWS = 2, 16_384


def sort_again(folder: Path, space: TermSpace, progress: Progress, piece: int = PIECE) -> None:
    """Sort an index of the same terms and another version by the cells of the space, or empty it.

    Args:
        folder: of the index; no other process writes to it.
        space: of the index from now on.
        progress: receives how many ordinals have been sorted.
        piece: see `PIECE`; tests make it small.

    Raises:
        SetupError: the disk is full or broken; the index is as it was.
    """
    try:
        found = read_manifest(folder)
    except BadArtefact:
        return
    if found is None or found.version == space.index_version or found.version.split("+")[0] != space.version:
        return
    cells = None if found.version.endswith(HEADS_VERSION) or space.by_cosine else space.fitted
    if cells is None:
        log.warning("index %s is of %s, and %s is wanted: it is made again", folder, found.version, space.index_version)
    else:
        log.warning("index %s is sorted by %s instead of %s", folder, space.index_version, found.version)
    begun = perf_counter()
    try:
        names = [] if cells is None else _sorted(folder, found, space, cells, progress, piece)
        write_manifest(folder, Manifest(space.index_version, found.source, found.generation + 1, names))
    except OSError as error:
        raise SetupError(f"sorting the index {folder} failed: {error}; free some disk, or unset terms.cells") from error
    log.info("index %s: %d segments were sorted in %.1f s", folder, len(names), perf_counter() - begun)


def _sorted(folder: Path, found: Manifest, space: TermSpace, cells: Cells, progress: Progress, piece: int) -> list[str]:
    """Write the undamaged segments again; return the names of the files."""
    names, deleted = [], np.array(found.deleted, np.int64)
    for segment in _opened(folder, found):
        for first in range(segment.first, segment.end, piece):
            end = min(first + piece, segment.end)
            progress("sorting the term index", first, segment.end)
            name = segment_name(first, end, found.generation + 1)
            piece_of = _piece(segment, first, end, deleted, cells)
            write_segment(folder, name, [piece_of], np.zeros(end - first, np.uint8), space.index_version)
            names.append(name)
    return names


def _opened(folder: Path, manifest: Manifest) -> Iterator[Segment]:
    for name in manifest.segments:
        try:
            yield open_segment(folder / name, manifest.version)
        except BadArtefact as error:
            log.error("%s", error)


def _piece(segment: Segment, first: int, end: int, deleted: NDArray[np.int64], cells: Cells) -> Segment:
    """The images of a range of a segment, in memory, without deleted ones."""
    ordinals = segment.part.ordinals.astype(np.int64)
    rows = np.flatnonzero((ordinals >= first) & (ordinals < end) & ~np.isin(ordinals, deleted))
    rows = rows[np.argsort(ordinals[rows])]
    signatures, heads = segment.part.signatures[rows], segment.part.head[:, rows].T
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = pool.map(cells.of, (signatures[at : at + _ROWS] for at in range(0, len(rows), _ROWS)))
        own = np.concatenate([np.zeros(0, np.uint16), *parts])
    return memory_segment(first, end, Rows(ordinals[rows], heads, signatures, own), len(cells))
