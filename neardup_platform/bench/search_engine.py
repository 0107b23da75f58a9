"""The interface of every engine in `neardup bench search`, so that all are measured in the same way."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.image_tree import centred_to_embeddings
from neardup_platform.records import FloatVector
from neardup_platform.scoring.compact import Compact, Layout, pack, unpack
from neardup_platform.terms.hyperplanes import Hashed, Rows, Signatures, TermSpace


class Engine(Protocol):
    """An index of signatures: built once, saved, opened, then measured at each of its settings.

    Attributes:
        name: of the row.
        settings: labels of what can be chosen at search time, cheapest first.
        grows: whether one thread can add images while others search.
    """

    name: str
    settings: tuple[str, ...]
    grows: bool

    def prepare(self, sample: Hashed, docs: int) -> None:
        """Learn from the first images of the corpus, before any is added.

        Args:
            sample: with vectors.
            docs: number of images that will be added.
        """
        ...

    def add(self, images: Hashed) -> None:
        """Add the next images; if it `grows` and is open, the next search finds them."""
        ...

    def save(self) -> None:
        """Finish building, write the index to disk and release it."""
        ...

    def open(self) -> None:
        """Read it from disk."""
        ...

    def use(self, setting: str, threads: int) -> None:
        """Use this setting and number of threads for the following searches."""
        ...

    def search(self, queries: Hashed, k: int) -> NDArray[np.int64]:
        """Ordinals of the best images, int64 [q, k], −1 where there are fewer."""
        ...

    def mapped_bytes(self) -> int:
        """Bytes read from files mapped into memory: not in the process's own memory, but part of its cost."""
        ...

    def close(self) -> None:
        """Release files, threads and memory."""
        ...


class KeptImages(Hashed):
    """Images of which little is kept, as for ten million: no affinities, and vectors of few.

    Args:
        signatures, cells, heads: as of `Hashed`.
        compact: uint8 [n, width], what compact rows hold of the `lsh` vectors.
        unit: float16 [n, dim], of those of which vectors are kept.
    """

    def __init__(
        self,
        signatures: Signatures,
        cells: NDArray[np.uint16],
        heads: Signatures,
        compact: Compact,
        unit: NDArray[np.float16] | None = None,
    ) -> None:
        nothing = np.empty((len(signatures), 0), np.float32)
        super().__init__(nothing if unit is None else unit.astype(np.float32), signatures, nothing)
        # Replace the properties that are computed from the affinities and the vectors.
        self.__dict__ |= {"cells": cells, "heads": heads, "compact": compact}

    @classmethod
    def of(cls, images: Hashed, mean: FloatVector) -> "KeptImages":
        """Returns what is kept of images whose vectors, before `mean` was subtracted, had length 1."""
        return cls(images.signatures, images.cells, images.heads, compact_rows(images, mean))

    def __getitem__(self, rows: Rows) -> "KeptImages":
        compact: Compact = self.__dict__["compact"]
        return KeptImages(self.signatures[rows], self.cells[rows], self.heads[rows], compact[rows])


def compact_rows(images: Hashed, mean: FloatVector) -> Compact:
    """Returns what compact rows hold of the `lsh` vectors of images, uint8 [n, width]; see `KeptImages.of`."""
    kept: Compact | None = images.__dict__.get("compact")
    if kept is not None:
        return kept
    lsh = centred_to_embeddings(images.unit, mean).astype(np.float16)
    return pack(lsh, np.empty((len(lsh), 0), np.float16), Layout(lsh.shape[1], 0))


def unit_vectors(images: Hashed, space: TermSpace) -> FloatVector:
    """Returns vectors of images that are centred and of length 1, float32 [n, dim]; from compact rows if not kept."""
    if images.unit.shape[1]:
        return images.unit
    lsh, _ = unpack(compact_rows(images, space.mean), Layout(space.dim, 0))
    return space.centre(lsh)
