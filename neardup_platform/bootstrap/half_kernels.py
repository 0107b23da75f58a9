"""Lengths of vectors of float16, compiled: without a copy as float32."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.intrinsics import single_of_half

# Sums may be in any order, so that they are vector instructions.
_SUMS = {"reassoc", "contract"}


def lengths(vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    """The Euclidean length of each row.

    Args:
        vectors: float16 [n, dim].

    Returns:
        float32 [n]; beyond 65,504 for a row that is not finite.
    """
    found = np.empty(len(vectors), np.float32)
    _lengths(np.ascontiguousarray(vectors).view(np.uint16), found)
    return found


@njit(nogil=True, cache=True, fastmath=_SUMS)
def _lengths(bits: NDArray[np.uint16], found: NDArray[np.float32]) -> None:
    for row in range(bits.shape[0]):
        square = np.float32(0)
        for entry in range(bits.shape[1]):
            value = single_of_half(bits[row, entry])
            square += value * value
        found[row] = np.sqrt(square)
