"""Both vectors of every decided image, by ordinal: what the pair classifier compares.

Memory is reserved for the largest corpus at once and taken from the system page by page as rows are written,
so growing never copies and never stalls.
"""

import mmap

import numpy as np
from numpy.typing import NDArray

# Address space, not memory: 16.8 million images.
CAPACITY = 1 << 24


class VectorTable:
    """An append-only float16 matrix.

    Args:
        dim: columns.
        capacity: the most rows it will ever hold.
    """

    def __init__(self, dim: int, capacity: int = CAPACITY) -> None:
        # MAP_NORESERVE is Linux's; elsewhere untouched anonymous pages cost nothing anyway.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        memory = mmap.mmap(-1, capacity * dim * 2, flags=flags)
        self._rows = np.frombuffer(memory, np.float16).reshape(capacity, dim)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, vectors: NDArray[np.float16]) -> None:
        """Add rows, float16 [n, dim].

        Raises:
            MemoryError: the table is full.
        """
        end = self._count + len(vectors)
        if end > len(self._rows):
            raise MemoryError(f"the vector table holds at most {len(self._rows)} images, {end} needed")
        self._rows[self._count : end] = vectors
        self._count = end

    def gather(self, ordinals: NDArray[np.int64]) -> NDArray[np.float16]:
        """Rows by ordinal, float16 [n, dim], a copy."""
        return self._rows[ordinals]
