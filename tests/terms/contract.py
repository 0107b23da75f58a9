"""The parts of the tests that every `CandidateIndex` passes: backends, a small corpus, a brute-force model in NumPy.

The model knows terms and bits one by one, so it shares no arithmetic with what it judges.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.terms.candidates import CandidateIndex, Candidates
from neardup_platform.terms.effort import Effort, Ranking
from neardup_platform.terms.faiss_index import FaissCosineIndex, FaissHammingIndex
from neardup_platform.terms.hyperplanes import WORD_BITS, Hashed, TermSpace
from neardup_platform.terms.index import TermIndex

DIM, TABLES, BITS = 16, 32, 6
FAMILIES, COPIES = 24, 8


def _small_space() -> TermSpace:
    sample = np.random.default_rng(0).standard_normal((300, DIM)).astype(np.float32)
    return fit_term_space(sample, "test", tables=TABLES, bits=BITS, whitening=0.0, seed=1)


def _pool(space: TermSpace) -> Hashed:
    """Families of copies, each further from its original than the previous one; the first copy is exact."""
    rng = np.random.default_rng(3)
    originals = rng.standard_normal((FAMILIES, 1, DIM))
    noise = rng.standard_normal((FAMILIES, COPIES, DIM)) * (0.1 * np.arange(-1, COPIES - 1).clip(0))[None, :, None]
    return space.hash((originals + noise).reshape(-1, DIM).astype(np.float32))


SPACE = _small_space()
POOL = _pool(SPACE)
NOTHING = np.zeros(0, np.int64)


def pooled(numbers: Sequence[int]) -> Hashed:
    """Returns images of the pool by number; a number may repeat."""
    return POOL[np.array(numbers, np.int64)]


@dataclass(frozen=True)
class Backend:
    """One implementation of the interface.

    Attributes:
        open: makes it, new in an empty folder or over what an earlier one left there.
        restore: given one opened over an earlier one's folder, brings back what is not there.
        best_first: "hamming" or "cosine".
        wait: waits until no background work is in progress.
        follow: opens a reader beside the writer of the folder; None if it has no readers.
    """

    name: str
    open: Callable[[Path], CandidateIndex]
    restore: Callable[[CandidateIndex, Hashed, NDArray[np.int64]], None]
    best_first: str = "hamming"
    wait: Callable[[CandidateIndex], None] = lambda _: None
    follow: Callable[[Path], CandidateIndex] | None = None


def add_all_again(index: CandidateIndex, images: Hashed, deleted: NDArray[np.int64]) -> None:
    """Adds all images again, as the caller of an index without files does after a restart."""
    index.add(images)
    index.delete(deleted)


def term_index(name: str, *, ranking: Ranking, block_images: int, on_disk: bool) -> Backend:
    """A `TermIndex` that examines every image; small blocks make it seal and merge all the time."""
    effort = Effort(scan=1 << 30, shortlist=1 << 14, ranking=ranking)

    def open_index(folder: Path, *, writable: bool = True) -> TermIndex:
        place = folder / "index" if on_disk else None
        return TermIndex(place, SPACE, effort, threads=2, writable=writable, block_images=block_images)

    return Backend(
        name,
        open_index,
        restore_missing,
        wait=TermIndex.flush,  # type: ignore[arg-type]
        follow=(lambda folder: open_index(folder, writable=False)) if on_disk else None,
    )


def restore_missing(index: CandidateIndex, images: Hashed, deleted: NDArray[np.int64]) -> None:
    """Restores in pieces what a `TermIndex` lacks after a restart, without deleted images."""
    assert isinstance(index, TermIndex)
    for gap_first, gap_end in index.missing(len(images)):
        for first in range(gap_first, gap_end, 25):
            end = min(first + 25, gap_end)
            stored = np.setdiff1d(np.arange(first, end), deleted)
            index.restore(first, end, stored, images[stored], np.zeros(len(stored), bool))


BACKENDS = (
    Backend("faiss-hamming", lambda _: FaissHammingIndex(SPACE), add_all_again),
    Backend("faiss-cosine", lambda _: FaissCosineIndex(SPACE), add_all_again, best_first="cosine"),
    term_index("term-index", ranking="hamming", block_images=8, on_disk=True),
    term_index("term-index-by-overlap", ranking="overlap", block_images=64, on_disk=False),
)

Row = list[tuple[int, int, int]]


class BruteForce:
    """The model: compares every image with every query, one term and one bit at a time."""

    def __init__(self, best_first: str) -> None:
        self.best_first = best_first
        self.numbers: list[int] = []
        self.deleted: set[int] = set()

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, numbers: Sequence[int]) -> list[int]:
        first = len(self.numbers)
        self.numbers.extend(numbers)
        return list(range(first, len(self.numbers)))

    def search(self, number: int, k: int, min_overlap: int, before: int | None) -> Row:
        """Returns (ordinal, distance, overlap) of the best images for one of the pool."""
        others = np.array(self.numbers, np.int64)
        costs, distances, overlaps = (table[number, others] for table in compared(self.best_first))
        ordinals = np.arange(len(self))
        found = (overlaps >= min_overlap) & ~np.isin(ordinals, list(self.deleted))
        if before is not None:
            found &= ordinals < before
        best = np.lexsort((ordinals[found], costs[found]))[:k]
        return list(
            zip(*(column[found][best].tolist() for column in (ordinals, distances, overlaps)), strict=True),
        )


@cache
def compared(best_first: str) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Returns costs, Hamming distances and overlaps of any two images of the pool."""
    terms = np.array([terms_of(signature) for signature in POOL.signatures])
    differing = terms[:, None] != terms[None]
    distances, overlaps = differing.sum((2, 3)), TABLES - differing.any(3).sum(2)
    if best_first == "hamming":
        return distances, distances, overlaps
    # Each pair is rounded once: equal vectors tie exactly, and no two others do.
    units = POOL.unit.astype(np.float64)
    return -np.array([[math.fsum(products) for products in units * unit] for unit in units]), distances, overlaps


def terms_of(signature: NDArray[np.uint64]) -> list[list[int]]:
    """Returns the bits of the term of each table, read from the planes of the signature."""
    plane_words = -(-TABLES // WORD_BITS)
    return [
        [int(signature[bit * plane_words + table // WORD_BITS]) >> (table % WORD_BITS) & 1 for bit in range(BITS)]
        for table in range(TABLES)
    ]


def rows_of(found: Candidates) -> list[Row]:
    """Returns an answer without its padding, which must be −1, 0, 0 and at the end."""
    rows = []
    for ordinals, distances, overlaps in zip(found.ordinals, found.distances, found.overlaps, strict=True):
        kept = int((ordinals >= 0).sum())
        assert (ordinals[kept:] == -1).all()
        assert not distances[kept:].any()
        assert not overlaps[kept:].any()
        rows.append(
            list(zip(ordinals[:kept].tolist(), distances[:kept].tolist(), overlaps[:kept].tolist(), strict=True))
        )
    return rows
