"""Compiled loops over the signatures of fitted cells: distances from all of them, and the choice of those to scan."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.intrinsics import popcount
from neardup_platform.terms.parts import EARLY, LATE, U64, Plan

# Cells, 128 KiB, that are compared with all images before the next ones.
_BLOCK = 512
_U = np.uint64


@njit(nogil=True, cache=True)
def compare_cells(words: U64, cells: U64, distances: NDArray[np.uint16]) -> None:
    """Hamming distances of all cells, uint64 [cells, words], from all images, uint64 [n, words]: uint16 [n, cells]."""
    for first in range(_U(0), _U(cells.shape[0]), _U(_BLOCK)):
        end = min(first + _U(_BLOCK), _U(cells.shape[0]))
        for row in range(_U(words.shape[0])):
            for cell in range(first, end):
                distance = _U(0)
                for word in range(_U(words.shape[1])):
                    distance += popcount(words[row, word] ^ cells[cell, word])
                distances[row, cell] = distance


@njit(nogil=True, cache=True)
def choose_cells(
    distances: NDArray[np.uint16], sizes: NDArray[np.int64], early: int, scan: int, held: NDArray[np.int64], plan: Plan
) -> None:
    """Chooses by counting the images at each distance, without sorting cells.

    Args:
        distances: uint16 [q, cells].
        sizes: int64 [cells], images of each.
        early, scan: images in the cells scanned first, and in all of them.
        held: int64 [distances], working memory.
        plan: receives them.
    """
    for row in range(_U(distances.shape[0])):
        held[:] = 0
        for cell in range(_U(distances.shape[1])):
            held[distances[row, cell]] += sizes[cell]
        first, images = _reach(held, early)
        last, images = _reach(held, scan)
        count = _U(0)
        for cell in range(_U(distances.shape[1])):
            if distances[row, cell] <= last:
                plan.cells[row, count] = cell
                plan.turns[row, count] = EARLY if distances[row, cell] <= first else LATE
                count += _U(1)
        plan.counts[row], plan.images[row] = count, images


@njit(nogil=True, cache=True)
def _reach(held: NDArray[np.int64], wanted: int) -> tuple[int, int]:
    """Returns the least distance within which there are as many images as wanted, and how many there are."""
    images = 0
    for distance in range(len(held)):
        images += held[distance]
        if images >= wanted:
            return distance, images
    return len(held) - 1, images
