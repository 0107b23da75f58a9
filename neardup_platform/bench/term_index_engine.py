"""Our own term index as an engine of `neardup bench search`."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.search_engine import compact_rows
from neardup_platform.learning.terms.fit_cells import fit_cells
from neardup_platform.scoring.compact import Compact, Layout
from neardup_platform.scoring.nearness import CosineNearness
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.terms.blocks import BLOCK_IMAGES
from neardup_platform.terms.cells import Cells
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import Hashed, TermSpace
from neardup_platform.terms.index import TermIndex

# Shares of the corpus scanned by the first step.
SCANNED_SHARES = (1 / 80, 1 / 20, 1 / 10, 1 / 4)
# Shares of the usual scan and shortlist with fitted cells.
FITTED_SHARES = ((1 / 16, 1 / 8), (1 / 4, 1 / 4), (1 / 2, 1 / 2))
# Ordinals of a mapped table: the corpus and all that is added while it is measured.
MAX_ROWS = 1 << 25
# The most images that are not yet sealed.
WINDOW_IMAGES = 2 * BLOCK_IMAGES


class TermIndexEngine:
    """A `TermIndex` in a folder, at several efforts: from a small scanned share of the corpus to all of it.

    Args:
        space: of the signatures.
        folder: of the segments.
        docs: images that the corpus will have.
        usual: the default effort, varied in the other settings.
        min_overlap: equal terms that a candidate needs.
    """

    name = "neardup"
    grows = True

    @property
    def space(self) -> TermSpace:
        """With the cells in use."""
        return self._space

    def __init__(self, space: TermSpace, folder: Path, docs: int, usual: Effort, min_overlap: int) -> None:
        self._space, self._folder, self._docs, self._min_overlap = space, folder, docs, min_overlap
        self._efforts = {_label(effort, usual, docs): effort for effort in self._choice(usual)}
        self.settings = tuple(self._efforts)
        self.usual_setting = _label(usual, usual, docs)
        self._in_use = usual, 1
        self.index = TermIndex(folder, space, usual)
        self._rows = LshRows(folder.with_suffix(".lsh"), space) if space.by_cosine else None
        # With the ordinal after their last image; together at least the window, which is not on disk.
        self._newest: list[tuple[int, Hashed]] = []

    def prepare(self, sample: Hashed, docs: int) -> None:
        """Do nothing: the term space is already fitted."""

    def _choice(self, usual: Effort) -> list[Effort]:
        return _efforts(self._docs, usual, by_cosine=self._space.by_cosine)

    def add(self, images: Hashed) -> None:
        """See `Engine`."""
        if self._rows is not None:
            self._rows.write(len(self.index), images)
        self.index.add(images)
        if len(self.index) <= self._docs:
            self._newest.append((len(self.index), images))
            while len(self.index) - self._newest[0][0] >= WINDOW_IMAGES:
                del self._newest[0]

    def save(self) -> None:
        """See `Engine`."""
        self.index.flush()
        self.index.close()

    def open(self) -> None:
        """See `Engine`: the segments are verified and mapped; the images of the window are added again."""
        self.index = self._opened(None)

    def use(self, setting: str, threads: int) -> None:
        """See `Engine`; images added since it was saved are discarded unless they were sealed."""
        wanted = self._efforts[setting], threads
        if wanted != self._in_use:
            self._in_use = wanted
            self.index.flush()
            self.index.close()
            self.index = self._opened(self.index)

    def search(self, queries: Hashed, k: int) -> NDArray[np.int64]:
        """See `Engine`."""
        nearness = None if self._rows is None else self._rows.nearness
        return self.index.search(queries, k, self._min_overlap, nearness=nearness).ordinals

    def mapped_bytes(self) -> int:
        """The files of the segments."""
        return sum(segment.path.stat().st_size for segment in self.index.segments if segment.path)

    def close(self) -> None:
        """See `Engine`."""
        self.index.flush()
        self.index.close()

    def _opened(self, known: TermIndex | None) -> TermIndex:
        effort, threads = self._in_use
        index = TermIndex(self._folder, self._space, effort, threads=threads, known=known)
        for end, images in self._newest:
            if len(index) < end:
                index.add(images[len(images) - (end - len(index)) :])
        return index


class SignatureEngine(TermIndexEngine):
    """The same with whole signatures, as `terms.ranking` and `terms.min_overlap` may ask for."""

    name = "neardup, by signature"

    def _choice(self, usual: Effort) -> list[Effort]:
        """Both rankings."""
        return [replace(usual, ranking="overlap"), usual]


class LshRows:
    """What compact rows hold of the `lsh` vectors, by ordinal, in a file that is mapped: in the place of the worker's.

    Args:
        path: of the file, which takes disk only for rows that are written.
        space: of the images.
    """

    def __init__(self, path: Path, space: TermSpace) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = MAX_ROWS, Layout(space.dim, 0).width
        self._space, self._rows = space, np.memmap(path, np.uint8, "w+", shape=shape)
        self.nearness = _nearness(self._rows, space)

    def write(self, first: int, images: Hashed) -> None:
        """Writes the rows of images, from an ordinal on."""
        self._rows[first : first + len(images)] = compact_rows(images, self._space.mean)


def _nearness(rows: Compact, space: TermSpace) -> CosineNearness:
    none = np.empty((0, 0), np.float16)
    return CosineNearness(ImageVectors(none, none, compact=np.asarray(rows)), space.mean)


class FittedCellsEngine(TermIndexEngine):
    """The same with cells fitted to the first images of the corpus, as the lists of the peers are."""

    name = "neardup, fitted cells"

    def prepare(self, sample: Hashed, docs: int) -> None:  # noqa: ARG002 -- the sample decides how many cells there are
        """Fit the cells."""
        self.index.close()
        self._space = replace(self._space, fitted=fit_cells(self._space, sample.unit))
        self.index = TermIndex(self._folder, self._space, self._in_use[0])

    def _choice(self, usual: Effort) -> list[Effort]:
        """Shares of the usual effort, in scanned images and shortlist, the usual one, and a multiple."""
        shares = [_share(usual, scan, shortlist) for scan, shortlist in FITTED_SHARES]
        return [*shares, usual, replace(usual, scan=min(self._docs, 4 * usual.scan))]


def compile_search(space: TermSpace, some: Hashed, usual: Effort) -> None:
    """Build and search a small index, so that compilation does not count as opening time or memory of the engine."""
    fitted = replace(space, fitted=Cells(space.version, some.signatures[:2].copy()))
    efforts = _efforts(len(some), usual, by_cosine=space.by_cosine)
    for each, effort in [(fitted, usual), *((space, effort) for effort in efforts)]:
        index = TermIndex(None, each, effort, block_images=16)
        for first in range(0, len(some), 16):
            index.add(some[first : first + 16])
        rows = compact_rows(some, space.mean)
        index.search(some, 1, nearness=_nearness(rows, space) if space.by_cosine else None)
        index.flush()
        index.close()


def _efforts(docs: int, usual: Effort, *, by_cosine: bool) -> list[Effort]:
    """Shares of the corpus, variants of the usual effort, the usual one, and a full scan if that is more."""
    shares = [replace(usual, scan=round(share * docs)) for share in SCANNED_SHARES]
    variants = [replace(usual, shortlist=-(-usual.shortlist // 4))]
    if not by_cosine:
        variants.append(replace(usual, ranking="hamming" if usual.ranking == "overlap" else "overlap"))
    whole = [replace(usual, scan=docs)] if docs > usual.scan else []
    return [*(effort for effort in shares if effort.scan < usual.scan), *variants, usual, *whole]


def _share(usual: Effort, scan: float, shortlist: float) -> Effort:
    return replace(usual, scan=math.ceil(scan * usual.scan), shortlist=math.ceil(shortlist * usual.shortlist))


def _label(effort: Effort, usual: Effort, docs: int) -> str:
    parts = [
        "default" if effort == usual else "",
        "scan all" if effort.scan >= docs else f"scan {effort.scan:,}",
        "" if effort.shortlist == usual.shortlist else f"shortlist {effort.shortlist:,}",
        "" if effort.ranking == usual.ranking else f"by {effort.ranking}",
    ]
    return ", ".join(filter(None, parts))
