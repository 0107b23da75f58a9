"""Compiled: where one picture agrees best with another, at every shift, scale and orientation.

Pictures are float32 [height, width], local contrasts of a few hundred cells. At this size, adding up products cell by
cell is faster than Fourier transforms, and simpler.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.structure.filter_kernels import AT_ONCE, add_products, local_contrast, resized

Grid = NDArray[np.float32]

# Scales tried are powers of 2 ** (1 / STEPS_PER_OCTAVE) up to LEVELS - 1 in either direction: a picture and its central
# quarter differ by 2.
STEPS_PER_OCTAVE, LEVELS = 5, 7
# Bits of an orientation: mirrors left to right, upside down, and exchanges rows and columns, which comes first.
MIRRORED, UPSIDE_DOWN, EXCHANGED = 1, 2, 4
_LEAST_SIDE = 4
# Overlaps smaller than this share of the smaller picture prove nothing.
_LEAST_OVERLAP = 0.3
# Share of contrast that is taken to be noise where a picture is plain.
_UNRELIABLE = 1e-3


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
    found = np.empty(((2 * LEVELS - 1) * len(orientations), 6))
    count = 0
    for step in range(1 - LEVELS, LEVELS):
        # The larger one is shrunk, so that no search is finer than the largest level.
        level_a, level_b = max(0, step), max(0, -step)
        (rows_a, columns_a), (rows_b, columns_b) = sizes_a[level_a], sizes_b[level_b]
        if min(rows_a, columns_a, rows_b, columns_b) < _LEAST_SIDE:
            continue
        a, b = levels_a[level_a, :rows_a, :columns_a], levels_b[level_b, :rows_b, :columns_b]
        squares_a = sums_of_squares(a)
        for orientation in orientations:
            turned = oriented(b, orientation)
            significance, down, right = best_shift(correlations(a, turned), squares_a, sums_of_squares(turned))
            found[count, 0], found[count, 4], found[count, 5] = significance, down, right
            found[count, 1], found[count, 2], found[count, 3] = level_a, level_b, orientation
            count += 1
    return found[:count].copy()


@njit(nogil=True, cache=True)
def oriented(grid: Grid, orientation: int) -> Grid:
    """Returns a copy of a picture in one of its eight orientations."""
    exchanged = orientation & EXCHANGED
    height, width = (grid.shape[1], grid.shape[0]) if exchanged else grid.shape
    turned = np.empty((height, width), np.float32)
    for y in range(height):
        row = height - 1 - y if orientation & UPSIDE_DOWN else y
        for x in range(width):
            column = width - 1 - x if orientation & MIRRORED else x
            turned[y, x] = grid[column, row] if exchanged else grid[row, column]
    return turned


@njit(nogil=True, cache=True, fastmath=True)
def correlations(a: Grid, b: Grid) -> Grid:
    """Sums of the products of both where they overlap, for all shifts of `b`.

    Returns:
        float32 [height of a + height of b - 1, the same of the widths]; [0, 0] is where the lower right cell of `b`
        lies on the upper left one of `a`.
    """
    (height_a, width_a), (height_b, width_b) = a.shape, b.shape
    stride, count = width_a + width_b - 1, height_a * (width_a + width_b - 1)
    # Rows of `a` with zeros between them: then all shifts along both axes are shifts of one long row.
    spaced = np.zeros(count + width_b + AT_ONCE, np.float32)
    for y in range(height_a):
        for x in range(width_a):
            spaced[y * stride + width_b - 1 + x] = a[y, x]
    weights = np.zeros((width_b + AT_ONCE - 1) // AT_ONCE * AT_ONCE, np.float32)
    out = np.zeros((height_a + height_b - 1) * stride, np.float32)
    for y in range(height_b):
        for x in range(width_b):
            weights[x] = b[y, x]
        start = (height_b - 1 - y) * stride
        add_products(out[start : start + count], weights, spaced, 1)
    return out.reshape(height_a + height_b - 1, stride)


@njit(nogil=True, cache=True, fastmath=True)
def best_shift(
    products: Grid, squares_a: NDArray[np.float64], squares_b: NDArray[np.float64]
) -> tuple[float, int, int]:
    """Returns the most significant shift of `b`, as (significance, down, right).

    Args:
        products: of `correlations`.
        squares_a, squares_b: integral images of the squares, [height + 1, width + 1].
    """
    height_a, width_a = squares_a.shape[0] - 1, squares_a.shape[1] - 1
    height_b, width_b = squares_b.shape[0] - 1, squares_b.shape[1] - 1
    least = _LEAST_OVERLAP * min(height_a * width_a, height_b * width_b)
    best, best_down, best_right = -1e9, 0, 0
    for down in range(1 - height_b, height_a):
        top, bottom = max(down, 0), min(down + height_b, height_a)
        for right in range(1 - width_b, width_a):
            left, end = max(right, 0), min(right + width_b, width_a)
            area = (bottom - top) * (end - left)
            if area < least:
                continue
            energy_a = _within(squares_a, top, bottom, left, end)
            energy_b = _within(squares_b, top - down, bottom - down, left - right, end - right)
            floor = _UNRELIABLE * area + 1.0
            product = products[down + height_b - 1, right + width_b - 1]
            value = product / np.sqrt(max(energy_a, floor) * max(energy_b, floor)) * np.sqrt(area / 1024.0)
            if value > best:
                best, best_down, best_right = value, down, right
    return best, best_down, best_right


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _within(integral: NDArray[np.float64], top: int, bottom: int, left: int, right: int) -> float:
    total: float = integral[bottom, right] - integral[top, right] - integral[bottom, left] + integral[top, left]
    return total


@njit(nogil=True, cache=True)
def sums_of_squares(grid: Grid) -> NDArray[np.float64]:
    """Returns the integral image of the squares."""
    out = np.zeros((grid.shape[0] + 1, grid.shape[1] + 1))
    for y in range(grid.shape[0]):
        line = 0.0
        for x in range(grid.shape[1]):
            line += grid[y, x] * grid[y, x]
            out[y + 1, x + 1] = out[y, x + 1] + line
    return out
