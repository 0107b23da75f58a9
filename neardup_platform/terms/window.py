"""The newest images in order of arrival, found from the moment they are added."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import Signatures
from neardup_platform.terms.parts import HEAD_WORDS, Part

Ordinals = NDArray[np.int64]
Cells = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Rows:
    """Images by row: int64 [n] ordinals, uint64 [n, words] signatures, uint16 [n] cells."""

    ordinals: Ordinals
    signatures: Signatures
    cells: Cells

    def select(self, mask: NDArray[np.bool_]) -> tuple[Ordinals, Signatures, Cells]:
        """Returns the rows for which the mask, bool [n], is true."""
        return self.ordinals[mask], self.signatures[mask], self.cells[mask]


class Window:
    """Rows that are only appended, so that a search can continue over the rows it started with.

    Args:
        capacity: rows it can hold.
        words: of a signature.
    """

    def __init__(self, capacity: int, words: int) -> None:
        self._head = np.empty((HEAD_WORDS, capacity), np.uint64)
        self._signatures = np.empty((capacity, words), np.uint64)
        self._ordinals = np.empty(capacity, np.uint32)
        self._cells = np.empty(capacity, np.uint16)
        self._count = 0

    def append(self, ordinals: Ordinals, signatures: Signatures, cells: Cells) -> None:
        """Appends rows."""
        rows = slice(self._count, self._count + len(ordinals))
        self._head[:, rows] = signatures[:, :HEAD_WORDS].T
        self._signatures[rows] = signatures
        self._ordinals[rows] = ordinals
        self._cells[rows] = cells
        self._count += len(ordinals)

    def rows(self, ordinals: Ordinals, signatures: Signatures, cells: Cells) -> Rows:
        """Returns its rows, followed by those given."""
        n = self._count
        return Rows(
            np.concatenate([self._ordinals[:n].astype(np.int64), ordinals]),
            np.concatenate([self._signatures[:n], signatures]),
            np.concatenate([self._cells[:n], cells]),
        )

    def part(self) -> Part:
        """Returns the rows so far, as one cell."""
        starts = np.array([0, self._count], np.int64)
        return Part(self._head, self._signatures, self._ordinals, starts, hides=True)
