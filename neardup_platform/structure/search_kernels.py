"""Compiled: the best shift of one picture on another at each scale and orientation.

Pictures are float32 [height, width].
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.structure.affines import Affine, after, between_sizes, scaling
from neardup_platform.structure.filter_kernels import local_contrast, resized
from neardup_platform.structure.shift_kernels import (
    EXCHANGED,
    MIRRORED,
    UPSIDE_DOWN,
    correlations,
    energies,
    least_overlap,
    most_significant,
    oriented,
)

Grid = NDArray[np.float32]

# Scales tried are powers of 2 ** (1 / STEPS_PER_OCTAVE) up to LEVELS - 1 in either direction: a picture and its central
# quarter differ by 2. With four steps to the octave, refinement misses more copies than with a quarter fewer cells.
STEPS_PER_OCTAVE, LEVELS = 5, 7
_BOTH_MIRRORED = MIRRORED | UPSIDE_DOWN
_LEAST_SIDE = 4


@njit(nogil=True, cache=True)
def pyramid(grey: Grid, height: int, width: int, sigma: float) -> tuple[Grid, NDArray[np.int64]]:
    """Returns local contrasts of the picture at ever smaller sizes.

    Args:
        grey: luma.
        height, width: of the largest.
        sigma: of local contrast, cells.

    Returns:
        float32 [LEVELS, height, width], of which each level has its upper left corner, and [LEVELS, 2], their heights
        and widths.
    """
    levels, sizes = np.zeros((LEVELS, height, width), np.float32), np.empty((LEVELS, 2), np.int64)
    largest = resized(grey, height, width)
    for level in range(LEVELS):
        scale = 2.0 ** (-level / STEPS_PER_OCTAVE)
        rows, columns = max(3, round(height * scale)), max(3, round(width * scale))
        small = local_contrast(resized(largest, rows, columns), sigma)
        for y in range(rows):
            for x in range(columns):
                levels[level, y, x] = small[y, x]
        sizes[level, 0], sizes[level, 1] = rows, columns
    return levels, sizes


@njit(nogil=True, cache=True)
def search(
    levels_a: Grid,
    sizes_a: NDArray[np.int64],
    levels_b: Grid,
    sizes_b: NDArray[np.int64],
    orientations: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Finds the best shift at each scale and orientation.

    Args:
        levels_a, sizes_a, levels_b, sizes_b: of `pyramid`.
        orientations: in which `b` is tried.

    Returns:
        float64 [hypotheses, 6]: significance, levels of `a` and of `b`, orientation, and how far down and right the
        turned `b` lies, in cells of that level.
    """
    found, count = np.empty(((2 * LEVELS - 1) * len(orientations), 6)), 0
    for step in range(1 - LEVELS, LEVELS):
        # The larger one is shrunk, so that no search is finer than the largest level.
        level_a, level_b = max(0, step), max(0, -step)
        a, b = _level(levels_a, sizes_a, level_a), _level(levels_b, sizes_b, level_b)
        if min(a.shape[0], a.shape[1], b.shape[0], b.shape[1]) < _LEAST_SIDE:
            continue
        for exchanged in (0, EXCHANGED):
            alike = orientations[orientations & EXCHANGED == exchanged]
            shifts = _best_shifts(a, b, alike)
            for k in range(len(shifts)):
                found[count, 0], found[count, 1], found[count, 2] = shifts[k, 0], level_a, level_b
                found[count, 3], found[count, 4], found[count, 5] = alike[k], shifts[k, 1], shifts[k, 2]
                count += 1
    return found[:count].copy()


@njit(nogil=True, cache=True)
def _level(levels: Grid, sizes: NDArray[np.int64], level: int) -> Grid:
    return np.ascontiguousarray(levels[level, : sizes[level, 0], : sizes[level, 1]])


@njit(nogil=True, cache=True)
def _best_shifts(a: Grid, b: Grid, orientations: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns significance, down and right of the best shift of `b` in each of these orientations.

    Args:
        a, b: two pictures.
        orientations: all with rows and columns exchanged, or none.

    Returns:
        float64 [orientations, 3]; none where the two cannot overlap enough.
    """
    shifts = np.empty((len(orientations), 3))
    if not len(orientations):
        return shifts
    upright = oriented(b, orientations[0] & EXCHANGED)
    overlap = least_overlap(a.shape, upright.shape)
    if not overlap[0]:
        return shifts[:0]
    energy_a, energy_b = energies(a, upright.shape, overlap), energies(upright, a.shape, overlap)
    for k in range(len(orientations)):
        products = correlations(a, oriented(b, orientations[k]), overlap)
        # Seen from `b`, it is `a` that moves, the other way; and what mirrors `b` mirrors its energies.
        mirrored = oriented(energy_b, (orientations[k] & _BOTH_MIRRORED) ^ _BOTH_MIRRORED)
        significance, row, column = most_significant(products, energy_a, mirrored, a.shape, upright.shape)
        shifts[k, 0] = significance
        shifts[k, 1], shifts[k, 2] = row + overlap[0] - upright.shape[0], column + overlap[1] - upright.shape[1]
    return shifts


@njit(nogil=True, cache=True)
def placement(
    shift: NDArray[np.float64],
    sizes_a: NDArray[np.int64],
    shape_a: tuple[int, int],
    sizes_b: NDArray[np.int64],
    shape_b: tuple[int, int],
) -> Affine:
    """Returns the affine between the cells of two full pictures for a row that `search` returned."""
    (rows_a, columns_a), (rows_b, columns_b) = sizes_a[int(shift[1])], sizes_b[int(shift[2])]
    moved = scaling(1.0, 1.0)
    moved[0, 2], moved[1, 2] = -shift[5], -shift[4]
    undone = undo_orientation(int(shift[3]), rows_b, columns_b)
    to_level = between_sizes(shape_a[0], shape_a[1], rows_a, columns_a)
    back = between_sizes(rows_b, columns_b, shape_b[0], shape_b[1])
    placed: Affine = after(back, after(undone, after(moved, to_level)))
    return placed


@njit(nogil=True, cache=True)
def undo_orientation(orientation: int, height: int, width: int) -> Affine:
    """Returns the transform from the turned picture to the picture of this size."""
    if orientation & EXCHANGED:
        height, width = width, height
    undone: Affine = scaling(1.0, 1.0)
    if orientation & MIRRORED:
        undone[0, 0], undone[0, 2] = -1.0, width - 1.0
    if orientation & UPSIDE_DOWN:
        undone[1, 1], undone[1, 2] = -1.0, height - 1.0
    return undone[::-1].copy() if orientation & EXCHANGED else undone
