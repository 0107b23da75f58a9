"""The pair vectors of a table of vectors: float16, as the store holds them.

Store, or memory until the commit → **pair vectors of a few images** → second look, commands. The first score reads
compact rows, so of 150 candidates of an image about one pair vector is read.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from neardup_platform.scoring.vectors import Float16, Ordinals


class PairStore(Protocol):
    """A store with the pair vectors of all images that are committed."""

    def ordinals(self) -> int:
        """Returns the ordinal that follows those of all commits."""

    def pairs(self, ordinals: Sequence[int]) -> Sequence[bytes | None]:
        """Returns pair vectors by ordinal, float16, little-endian; None where there is no image."""


class PairVectors:
    """Pair vectors by ordinal: those of the store, and those of images that are not committed yet.

    Any thread may read while one adds and erases.

    Args:
        store: of the images.
        dim: entries of a vector.
    """

    def __init__(self, store: PairStore, dim: int) -> None:
        self._store, self._dim = store, dim
        self._recent: dict[int, Float16] = {}

    def add(self, first: int, vectors: Float16) -> None:
        """Holds the vectors of images from an ordinal on until they are committed; lets go of those that are.

        Args:
            vectors: float16 [n, dim], not changed afterwards.
        """
        committed = self._store.ordinals()
        for ordinal in [each for each in self._recent if each < committed]:
            del self._recent[ordinal]
        for row in range(max(0, committed - first), len(vectors)):
            self._recent[first + row] = vectors[row]

    def erase(self, ordinals: Ordinals) -> None:
        """Forgets images whose commit will not come, or that a commit has deleted."""
        for ordinal in ordinals.tolist():
            self._recent.pop(ordinal, None)

    def read(self, ordinals: Ordinals) -> Float16:
        """Returns vectors, float16 [n, dim]; zeros where there is no image."""
        found, absent = np.zeros((len(ordinals), self._dim), np.float16), []
        # First what is in memory: what leaves it meanwhile is in the store.
        for row, ordinal in enumerate(ordinals.tolist()):
            vector = self._recent.get(ordinal)
            if vector is None:
                absent.append(row)
            else:
                found[row] = vector
        stored = self._store.pairs(ordinals[absent].tolist()) if absent else ()
        for row, content in zip(absent, stored, strict=True):
            if content is not None:
                found[row] = np.frombuffer(content, "<f2")
        return found
