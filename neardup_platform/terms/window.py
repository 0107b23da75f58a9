"""The newest images in order of arrival, found from the moment they are added."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import Hashed, Signatures, TermSpace
from neardup_platform.terms.parts import HEAD_WORDS, Part

Ordinals = NDArray[np.int64]
Cells = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Rows:
    """Images as an index holds them, by row.

    Attributes:
        ordinals: int64 [n].
        heads: uint64 [n, HEAD_WORDS], by which shortlists are chosen.
        signatures: uint64 [n, words], or [n, 0] in an index that ranks by cosine.
        cells: uint16 [n].
    """

    ordinals: Ordinals
    heads: Signatures
    signatures: Signatures
    cells: Cells

    @classmethod
    def of(cls, ordinals: Ordinals, hashed: Hashed, space: TermSpace) -> "Rows":
        """Returns what an index of this space holds of images."""
        heads = hashed.heads if space.by_cosine else hashed.signatures[:, :HEAD_WORDS]
        return cls(ordinals, heads, hashed.signatures[:, : space.kept_words], space.cells_of(hashed))

    @classmethod
    def none(cls, words: int) -> "Rows":
        """Returns no images."""
        ordinals, cells = np.zeros(0, np.int64), np.zeros(0, np.uint16)
        return cls(ordinals, np.zeros((0, HEAD_WORDS), np.uint64), np.zeros((0, words), np.uint64), cells)

    @classmethod
    def joined(cls, parts: Sequence["Rows"], words: int) -> "Rows":
        """Returns the images of all parts."""
        all_parts = [cls.none(words), *parts]
        return cls(
            np.concatenate([part.ordinals for part in all_parts]),
            np.concatenate([part.heads for part in all_parts]),
            np.concatenate([part.signatures for part in all_parts]),
            np.concatenate([part.cells for part in all_parts]),
        )

    def select(self, mask: NDArray[np.bool_]) -> "Rows":
        """Returns the rows for which the mask, bool [n], is true."""
        return Rows(self.ordinals[mask], self.heads[mask], self.signatures[mask], self.cells[mask])


class Window:
    """Rows that are only appended, so that a search can continue over the rows it started with.

    Args:
        capacity: rows it can hold.
        words: of a signature, as far as the index holds it.
    """

    def __init__(self, capacity: int, words: int) -> None:
        self._head = np.empty((HEAD_WORDS, capacity), np.uint64)
        self._signatures = np.empty((capacity, words), np.uint64)
        self._ordinals = np.empty(capacity, np.uint32)
        self._cells = np.empty(capacity, np.uint16)
        self._count = 0

    def append(self, added: Rows) -> None:
        """Appends rows."""
        rows = slice(self._count, self._count + len(added.ordinals))
        self._head[:, rows] = added.heads.T
        self._signatures[rows] = added.signatures
        self._ordinals[rows] = added.ordinals
        self._cells[rows] = added.cells
        self._count += len(added.ordinals)

    def rows(self, added: Rows) -> Rows:
        """Returns its rows, followed by those given."""
        n = self._count
        ordinals, cells = self._ordinals[:n].astype(np.int64), self._cells[:n]
        own = Rows(ordinals, self._head[:, :n].T, self._signatures[:n], cells)
        return Rows.joined([own, added], self._signatures.shape[1])

    def part(self) -> Part:
        """Returns the rows so far, as one cell."""
        starts = np.array([0, self._count], np.int64)
        return Part(self._head, self._signatures, self._ordinals, starts, hides=True)
