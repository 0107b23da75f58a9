"""Both vectors of every decided image, by ordinal: what the pair classifier compares.

Memory is reserved for the largest corpus at once and taken from the system page by page as rows are written,
so growing never copies and never stalls.
"""

import mmap

import numpy as np
from numba import njit
from numpy.typing import NDArray

_HALF_TO_SINGLE = np.float32(2.0**112)
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
        self._bits = self._rows.view(np.uint16)
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

    def gather(self, ordinals: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows by ordinal, float32 [n, dim]."""
        bits = np.empty((len(ordinals), self._rows.shape[1]), np.uint32)
        _gather_shifted(self._bits, ordinals, bits)
        rows = bits.view(np.float32)
        rows *= _HALF_TO_SINGLE
        return rows


@njit(cache=True, nogil=True)
def _gather_shifted(rows: NDArray[np.uint16], ordinals: NDArray[np.int64], out: NDArray[np.uint32]) -> None:
    """Put sign, exponent and fraction of float16 where float32 has them; the exponent's bias is still 15.

    Multiplying by 2^(127−15) then corrects the bias, exactly and for subnormal numbers too. Several times
    faster than NumPy's conversion, because both steps are vector instructions.
    """
    for i in range(len(ordinals)):
        row = rows[ordinals[i]]
        for d in range(row.shape[0]):
            half = np.uint32(row[d])
            out[i, d] = ((half & 0x8000) << 16) | ((half & 0x7FFF) << 13)
