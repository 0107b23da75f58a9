"""Compiled: an affine Lucas–Kanade alignment of two pictures.

The refinement is Gauss–Newton on the difference of local contrasts (Lucas and Kanade, 1981; Baker and Matthews,
*Lucas-Kanade 20 Years On*, 2004), with Huber's weights so that captions and overlays do not pull. Pictures are float32
[height, width]; affines float64 [2, 3] map (x, y, 1), the middle of a cell, to another picture.

Numbers in the inner loops are float32 throughout, and cells that do not count have weight 0 instead of being skipped:
so the processor computes eight cells at a time.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.structure.affines import Affine

Grid = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Difference of local contrasts from which a cell pulls less (Huber).
_HUBER = np.float32(0.7)
_LEAST_CELLS = 30
# A step in cells below which the alignment has converged, and the longest one.
_CONVERGED, _LONGEST = 0.02, 3.0
_ZERO, _HALF, _ONE, _TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)


@njit(nogil=True, cache=True, fastmath=True)
def refine(a: Grid, b: Grid, counts: Mask, affine: Affine, most_steps: int) -> None:
    """Improves `affine`, which maps (x, y, 1) of `a` to `b`.

    Args:
        a, b: local contrasts.
        counts: bool, which cells of `a` to compare.
        affine: changed in place.
        most_steps: of Gauss and Newton; it ends earlier once a step is shorter than 0.02 cells.
    """
    # Slopes by the linear part are measured from the middle, in halves of the longer side: all six are alike then.
    middle_x, middle_y, unit = (a.shape[1] - 1) / 2, (a.shape[0] - 1) / 2, 2.0 / max(a.shape)
    normal, gradient = np.empty((6, 6)), np.empty(6)
    for _ in range(most_steps):
        if _normal_equations(a, b, counts, affine, normal, gradient) < _LEAST_CELLS:
            return
        _solve(normal, gradient)
        longest = 0.0
        for entry in gradient:
            longest = max(longest, abs(entry))
        shortened = min(1.0, _LONGEST / max(longest, 1e-12))
        for axis in range(2):
            across, down = shortened * gradient[3 * axis] * unit, shortened * gradient[3 * axis + 1] * unit
            affine[axis, 0] += across
            affine[axis, 1] += down
            affine[axis, 2] += shortened * gradient[3 * axis + 2] - across * middle_x - down * middle_y
        if longest < _CONVERGED:
            return


@njit(nogil=True, cache=True, fastmath=True)
def _normal_equations(
    a: Grid, b: Grid, counts: Mask, affine: Affine, normal: NDArray[np.float64], gradient: NDArray[np.float64]
) -> float:
    """Fills in both sides, for the slopes by (u·x, v·x, x, u·y, v·y, y); returns the number of cells compared.

    With v constant along a row, all 27 sums over a row follow from 13.
    """
    normal[:], gradient[:], all_cells = 0.0, 0.0, 0.0
    unit = _TWO / np.float32(max(a.shape))
    for y in range(a.shape[0]):
        row, counted = a[y], counts[y]
        xx0, xx1, xx2, xy0, xy1, xy2 = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
        yy0, yy1, yy2, x0, x1, y0, y1 = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
        cells = _ZERO
        for x in range(a.shape[1]):
            inside, value, slope_x, slope_y = interpolate(b, affine, np.float32(x), np.float32(y))
            counting = inside if counted[x] else _ZERO
            difference = row[x] - value
            weight = counting * _HUBER / max(abs(difference), _HUBER)
            u = (np.float32(x) - _HALF * np.float32(a.shape[1] - 1)) * unit
            along, over = weight * slope_x, weight * slope_y
            xx, xy, yy, gx, gy = along * slope_x, along * slope_y, over * slope_y, along * difference, over * difference
            xx0, xx1, xx2 = xx0 + xx, xx1 + xx * u, xx2 + xx * u * u
            xy0, xy1, xy2 = xy0 + xy, xy1 + xy * u, xy2 + xy * u * u
            yy0, yy1, yy2 = yy0 + yy, yy1 + yy * u, yy2 + yy * u * u
            x0, x1, y0, y1 = x0 + gx, x1 + gx * u, y0 + gy, y1 + gy * u
            cells += counting
        v = (y - (a.shape[0] - 1) / 2) * unit
        _add_products(normal, 0, 0, xx0, xx1, xx2, v)
        _add_products(normal, 0, 3, xy0, xy1, xy2, v)
        _add_products(normal, 3, 3, yy0, yy1, yy2, v)
        for at, zeroth, first in ((0, x0, x1), (3, y0, y1)):
            gradient[at] += first
            gradient[at + 1] += zeroth * v
            gradient[at + 2] += zeroth
        all_cells += float(cells)
    damping = 1e-6
    for i in range(6):
        damping += 1e-3 / 6 * normal[i, i]
    for i in range(6):
        normal[i, i] += damping
    return all_cells


@njit(nogil=True, cache=True, fastmath=True)
def interpolate(b: Grid, affine: Affine, x: np.float32, y: np.float32) -> tuple[np.float32, ...]:
    """Returns whether (x, y) maps between cells of `b`, as 0 or 1, and its value and both slopes there, bilinearly.

    Beyond its edges `b` continues as it is at them.
    """
    last_x, last_y = np.float32(b.shape[1] - 1), np.float32(b.shape[0] - 1)
    at_x = np.float32(affine[0, 0]) * x + np.float32(affine[0, 1]) * y + np.float32(affine[0, 2])
    at_y = np.float32(affine[1, 0]) * x + np.float32(affine[1, 1]) * y + np.float32(affine[1, 2])
    inside = (at_x >= _ZERO) & (at_y >= _ZERO) & (at_x < last_x) & (at_y < last_y)
    at_x, at_y = min(max(at_x, _ZERO), last_x), min(max(at_y, _ZERO), last_y)
    column, row = np.uint32(min(at_x, last_x - _ONE)), np.uint32(min(at_y, last_y - _ONE))
    right, below = at_x - np.float32(column), at_y - np.float32(row)
    upper_left, lower_left = b[row, column], b[row + np.uint32(1), column]
    upper_slope = b[row, column + np.uint32(1)] - upper_left
    lower_slope = b[row + np.uint32(1), column + np.uint32(1)] - lower_left
    slope_y = lower_left - upper_left + right * (lower_slope - upper_slope)
    value = upper_left + right * upper_slope + below * slope_y
    return _ONE if inside else _ZERO, value, upper_slope + below * (lower_slope - upper_slope), slope_y


@njit(nogil=True, cache=True, fastmath=True)
def _add_products(
    normal: NDArray[np.float64], top: int, left: int, zeroth: float, first: float, second: float, v: float
) -> None:
    """Adds a row's sums of a product of slopes, times 1, u and u²: each by (u, v, 1) of both."""
    normal[top, left] += second
    normal[top, left + 1] += first * v
    normal[top, left + 2] += first
    normal[top + 1, left] += first * v
    normal[top + 1, left + 1] += zeroth * v * v
    normal[top + 1, left + 2] += zeroth * v
    normal[top + 2, left] += first
    normal[top + 2, left + 1] += zeroth * v
    normal[top + 2, left + 2] += zeroth


@njit(nogil=True, cache=True, fastmath=True)
def _solve(normal: NDArray[np.float64], right: NDArray[np.float64]) -> None:
    """Solves positive definite equations in place by Cholesky's method; only the upper triangle is read."""
    for i in range(6):
        for j in range(i):
            for k in range(i, 6):
                normal[i, k] -= normal[j, i] * normal[j, k]
            right[i] -= normal[j, i] * right[j]
        pivot = 1.0 / np.sqrt(normal[i, i])
        for k in range(i, 6):
            normal[i, k] *= pivot
        right[i] *= pivot
    for i in range(5, -1, -1):
        for j in range(i + 1, 6):
            right[i] -= normal[i, j] * right[j]
        right[i] /= normal[i, i]


@njit(nogil=True, cache=True, fastmath=True)
def correlation(a: Grid, b: Grid, counts: Mask, affine: Affine) -> tuple[float, int]:
    """Returns the normalised correlation of `a` with `b` laid over it, and the cells compared; as of `refine`."""
    squares_a, squares_b, products, all_cells = 0.0, 0.0, 0.0, 0.0
    for y in range(a.shape[0]):
        row, counted = a[y], counts[y]
        one, two, both, cells = _ZERO, _ZERO, _ZERO, _ZERO
        for x in range(a.shape[1]):
            inside, value, _, _ = interpolate(b, affine, np.float32(x), np.float32(y))
            counting = inside if counted[x] else _ZERO
            mine, its = row[x] * counting, value * counting
            one, two, both, cells = one + mine * mine, two + its * its, both + mine * its, cells + counting
        squares_a, squares_b, products = squares_a + float(one), squares_b + float(two), products + float(both)
        all_cells += float(cells)
    if all_cells < _LEAST_CELLS:
        return 0.0, int(all_cells)
    floor = 1e-3 * all_cells
    return products / np.sqrt((squares_a + floor) * (squares_b + floor)), int(all_cells)
