"""What `neardup bench search` asks of every engine it measures, so that all are put through the same."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import Hashed, Rows, Signatures


class Engine(Protocol):
    """An index of signatures: built once, saved, opened, then measured at each of its settings.

    Attributes:
        name: of the row.
        settings: labels of what can be chosen at search time, cheapest first.
        grows: whether images can be added by one thread while others search.
    """

    name: str
    settings: tuple[str, ...]
    grows: bool

    def prepare(self, sample: Hashed, docs: int) -> None:
        """Learn what has to be learnt from the corpus's first images before any is added.

        Args:
            sample: of which only the signatures are read.
            docs: how many images will be added.
        """
        ...

    def add(self, images: Hashed) -> None:
        """Add the next images; where it `grows` and is open, the next search finds them."""
        ...

    def save(self) -> None:
        """Finish building, put the index on disk and let go of it."""
        ...

    def open(self) -> None:
        """Read it from disk."""
        ...

    def use(self, setting: str, threads: int) -> None:
        """Search so from now on, on so many threads."""
        ...

    def search(self, queries: Hashed, k: int) -> NDArray[np.int64]:
        """Ordinals of the best images, int64 [q, k], −1 where there are fewer."""
        ...

    def mapped_bytes(self) -> int:
        """What it reads from files mapped into memory: not in the process's own memory, but its cost all the same."""
        ...

    def close(self) -> None:
        """Release files, threads and memory."""
        ...


class KeptImages(Hashed):
    """Images of which only signature and cell were kept, as ten million are: no vectors, no affinities."""

    def __init__(self, signatures: Signatures, cells: NDArray[np.uint16]) -> None:
        nothing = np.empty((len(signatures), 0), np.float32)
        super().__init__(nothing, signatures, nothing)
        # Takes the place of what would be computed from the affinities.
        self.__dict__["cells"] = cells

    def __getitem__(self, rows: Rows) -> "KeptImages":
        return KeptImages(self.signatures[rows], self.cells[rows])
