"""The interface of every engine in `neardup bench search`, so that all are measured in the same way."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import Hashed, Rows, Signatures


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
    """Images of which only signature and cell are kept, as for ten million: no affinities, and vectors of few."""

    def __init__(
        self, signatures: Signatures, cells: NDArray[np.uint16], unit: NDArray[np.float16] | None = None
    ) -> None:
        nothing = np.empty((len(signatures), 0), np.float32)
        super().__init__(nothing if unit is None else unit.astype(np.float32), signatures, nothing)
        # Replaces the property that is computed from the affinities.
        self.__dict__["cells"] = cells

    def __getitem__(self, rows: Rows) -> "KeptImages":
        return KeptImages(self.signatures[rows], self.cells[rows])
