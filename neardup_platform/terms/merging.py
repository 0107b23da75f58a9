"""Compiled loops that copy the images of segments, cell by cell, into the segment that replaces them."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.terms.parts import HEAD_WORDS, LIVE, Part

_U = np.uint64


@njit(nogil=True, cache=True)
def append_cells(part: Part, states: NDArray[np.uint8], first: int, to: Part, ends: NDArray[np.int64]) -> None:
    """Appends the live images of each cell of a part to the same cell of another part.

    Args:
        part: the source.
        states: uint8 [·], of the images from ordinal `first` on; RETIRED and DELETED ones are skipped.
        first: see `states`.
        to: the part being written.
        ends: int64 [cells], where the next image of each of its cells goes; advanced.
    """
    for cell in range(len(ends)):
        end = _U(ends[cell])
        for place in range(_U(part.starts[cell]), _U(part.starts[cell + 1])):
            if states[_U(part.ordinals[place]) - _U(first)] != LIVE:
                continue
            for word in range(_U(HEAD_WORDS)):
                to.head[word, end] = part.head[word, place]
            for word in range(_U(part.signatures.shape[1])):
                to.signatures[end, word] = part.signatures[place, word]
            to.ordinals[end] = part.ordinals[place]
            end += _U(1)
        ends[cell] = np.int64(end)


@njit(nogil=True, cache=True)
def count_live(part: Part, states: NDArray[np.uint8], first: int, sizes: NDArray[np.int64]) -> None:
    """Adds the number of live images in each cell of a part to `sizes`, int64 [cells]; `states` as above."""
    for cell in range(len(sizes)):
        for place in range(_U(part.starts[cell]), _U(part.starts[cell + 1])):
            sizes[cell] += states[_U(part.ordinals[place]) - _U(first)] == LIVE


@njit(nogil=True, cache=True)
def uncount(part: Part, ordinals: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
    """Takes images out of `sizes`, int64 [cells]: those of these ordinals that a part holds, found by bisection."""
    for ordinal in ordinals:
        wanted = np.uint32(ordinal)
        for cell in range(len(sizes)):
            low, high = part.starts[cell], part.starts[cell + 1]
            while low < high:
                middle = (low + high) // 2
                if part.ordinals[middle] < wanted:
                    low = middle + 1
                else:
                    high = middle
            if low < part.starts[cell + 1] and part.ordinals[low] == wanted:
                sizes[cell] -= 1
                break
