"""Our own term index as an engine of `neardup bench search`."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.learning.terms.fit_cells import fit_cells
from neardup_platform.terms.blocks import BLOCK_IMAGES
from neardup_platform.terms.cells import Cells
from neardup_platform.terms.effort import Effort, Ranking
from neardup_platform.terms.hyperplanes import Hashed, TermSpace
from neardup_platform.terms.index import TermIndex

# Shares of the corpus scanned by the first step.
SCANNED_SHARES = (1 / 80, 1 / 20, 1 / 10, 1 / 4)
# Shares of the usual scan and shortlist with fitted cells.
FITTED_SHARES = ((1 / 16, 1 / 8), (1 / 4, 1 / 4), (1 / 2, 1 / 2))
_OTHER: dict[Ranking, Ranking] = {"hamming": "overlap", "overlap": "hamming"}
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

    def __init__(self, space: TermSpace, folder: Path, docs: int, usual: Effort, min_overlap: int) -> None:
        self._space, self._folder, self._docs, self._min_overlap = space, folder, docs, min_overlap
        self._efforts = {_label(effort, usual, docs): effort for effort in self._choice(usual)}
        self.settings = tuple(self._efforts)
        self.usual_setting = _label(usual, usual, docs)
        self._in_use = usual, 1
        self.index = TermIndex(folder, space, usual)
        # With the ordinal after their last image; together at least the window, which is not on disk.
        self._newest: list[tuple[int, Hashed]] = []

    def prepare(self, sample: Hashed, docs: int) -> None:
        """Do nothing: the term space is already fitted."""

    def _choice(self, usual: Effort) -> list[Effort]:
        return _efforts(self._docs, usual)

    def add(self, images: Hashed) -> None:
        """See `Engine`."""
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
        return self.index.search(queries, k, self._min_overlap).ordinals

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
    for each, effort in [(fitted, usual), *((space, effort) for effort in _efforts(len(some), usual))]:
        index = TermIndex(None, each, effort, block_images=16)
        for first in range(0, len(some), 16):
            index.add(some[first : first + 16])
        index.search(some, 1)
        index.flush()
        index.close()


def _efforts(docs: int, usual: Effort) -> list[Effort]:
    """Shares of the corpus, variants of the usual effort, the usual one, and a full scan if that is more."""
    shares = [replace(usual, scan=round(share * docs)) for share in SCANNED_SHARES]
    variants = [replace(usual, shortlist=-(-usual.shortlist // 4)), replace(usual, ranking=_OTHER[usual.ranking])]
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
