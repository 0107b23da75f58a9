"""Compiled: how well two small pictures agree at every shift.

Pictures are float32 [height, width], local contrasts of a few hundred cells. At this size, adding up products cell by
cell takes about as long as Fourier transforms, and is simpler: no padding, no spectra to keep.

Arrays by shift have a row for each shift down and a column for each shift right of the second picture, of those that
leave enough overlap: [rows of a + rows of b - 2 · overlap + 1, the same of columns]. At [0, 0], the last rows and
columns of `b` lie on the first ones of `a`.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.structure.filter_kernels import AT_ONCE, add_products

Grid = NDArray[np.float32]
Sides = tuple[int, int]

# Bits of an orientation: mirrors left to right, upside down, and exchanges rows and columns, which comes first.
MIRRORED, UPSIDE_DOWN, EXCHANGED = 1, 2, 4
# Overlaps smaller than this share of the smaller picture prove nothing.
_LEAST_OVERLAP = 0.3
# Share of contrast that is taken to be noise where a picture is plain.
_UNRELIABLE = np.float32(1e-3)
_NOTHING, _ONE = np.float32(-1e9), np.float32(1.0)


@njit(nogil=True, cache=True)
def least_overlap(a: Sides, b: Sides) -> Sides:
    """Returns the fewest rows and columns of any overlap that is large enough; 0 and 0 where there is none."""
    least = _LEAST_OVERLAP * min(a[0] * a[1], b[0] * b[1])
    most_rows, most_columns = min(a[0], b[0]), min(a[1], b[1])
    if most_rows * most_columns < least:
        return 0, 0
    return int(np.ceil(least / most_columns)), int(np.ceil(least / most_rows))


@njit(nogil=True, cache=True)
def oriented(grid: Grid, orientation: int) -> Grid:
    """Returns a copy of a picture in one of its eight orientations."""
    exchanged = orientation & EXCHANGED
    height, width = (grid.shape[1], grid.shape[0]) if exchanged else grid.shape
    turned = np.empty((height, width), np.float32)
    first_row, down = (height - 1, -1) if orientation & UPSIDE_DOWN else (0, 1)
    first_column, across = (width - 1, -1) if orientation & MIRRORED else (0, 1)
    for y in range(height):
        row = first_row + down * y
        for x in range(width):
            column = first_column + across * x
            turned[y, x] = grid[column, row] if exchanged else grid[row, column]
    return turned


@njit(nogil=True, cache=True)
def correlations(a: Grid, b: Grid, overlap: Sides) -> Grid:
    """Returns sums of the products of both where they overlap, by shift.

    Args:
        a, b: any two pictures.
        overlap: least number of rows, and of columns, each at least 1 and at most those of both pictures.
    """
    rows, columns = a.shape[0] + b.shape[0] - 2 * overlap[0] + 1, a.shape[1] + b.shape[1] - 2 * overlap[1] + 1
    # Work is least with the smaller picture as the one whose cells are weights.
    swapped = a.size < b.size
    sums = _correlations(b, a, overlap) if swapped else _correlations(a, b, overlap)
    out = np.empty((rows, columns), np.float32)
    for down in range(rows):
        for right in range(columns):
            out[down, right] = sums[rows - 1 - down, columns - 1 - right] if swapped else sums[down, right]
    return out


@njit(nogil=True, cache=True, fastmath=True)
def _correlations(a: Grid, b: Grid, overlap: Sides) -> Grid:
    """As of `correlations`, fast if `b` is the smaller one; further columns mean nothing."""
    (height_a, width_a), (height_b, width_b) = a.shape, b.shape
    shifts, before, gap = height_a + height_b - 2 * overlap[0] + 1, height_b - overlap[0], width_b - overlap[1]
    # Rows of `a` with zeros between them: then all shifts along both axes are shifts of one long row.
    stride = width_a + gap
    spaced = np.zeros(height_a * stride + width_b + AT_ONCE, np.float32)
    for y in range(height_a):
        for x in range(width_a):
            spaced[y * stride + gap + x] = a[y, x]
    weights = np.zeros((width_b + AT_ONCE - 1) // AT_ONCE * AT_ONCE, np.float32)
    out = np.zeros(shifts * stride, np.float32)
    for y in range(height_b):
        for x in range(width_b):
            weights[x] = b[y, x]
        first, end = max(0, y - before), min(height_a, shifts + y - before)
        line = out[(first - y + before) * stride : (end - y + before) * stride]
        add_products(line, weights, spaced[first * stride :], 1)
    return out.reshape(shifts, stride)


@njit(nogil=True, cache=True, fastmath=True)
def energies(grid: Grid, shape: Sides, overlap: Sides) -> Grid:
    """Returns sums of the squares of `grid` under a picture of this shape, by shift of that picture."""
    rows, columns = grid.shape
    shifts_down, shifts_right = rows + shape[0] - 2 * overlap[0] + 1, columns + shape[1] - 2 * overlap[1] + 1
    above = np.zeros((rows + 1, shifts_right), np.float32)
    # Sums of a row up to each cell, as far to both sides as the picture is moved.
    beside = shape[1] - overlap[1]
    line = np.zeros(columns + 2 * beside + 1, np.float32)
    for y in range(rows):
        for x in range(columns + beside):
            cell = grid[y, x] if x < columns else np.float32(0.0)
            line[beside + x + 1] = line[beside + x] + cell * cell
        for right in range(shifts_right):
            above[y + 1, right] = above[y, right] + line[right + shape[1]] - line[right]
    out = np.empty((shifts_down, shifts_right), np.float32)
    for down in range(shifts_down):
        top = down + overlap[0] - shape[0]
        last, first = above[min(top + shape[0], rows)], above[max(top, 0)]
        for right in range(shifts_right):
            out[down, right] = last[right] - first[right]
    return out


@njit(nogil=True, cache=True, fastmath=True)
def most_significant(
    products: Grid, energy_a: Grid, energy_b: Grid, shape_a: Sides, shape_b: Sides
) -> tuple[float, int, int]:
    """Returns the significance of the best shift, and where it is in the arrays by shift.

    Significance is the normalised correlation times the square root of the overlap in units of 1,024 cells. Squares
    of it are compared, because roots take long.

    Args:
        products: of `correlations`.
        energy_a, energy_b: of each picture where it is overlapped by the other, by shift.
        shape_a, shape_b: of both pictures.
    """
    shifts_down, shifts_right = products.shape
    rows = _overlaps(shape_a[0], shape_b[0], shifts_down)
    columns = _overlaps(shape_a[1], shape_b[1], shifts_right)
    least = np.float32(_LEAST_OVERLAP * min(shape_a[0] * shape_a[1], shape_b[0] * shape_b[1]))
    best, best_down, best_right = _NOTHING, 0, 0
    line = np.empty(shifts_right, np.float32)
    for down in range(shifts_down):
        highest = _NOTHING
        for right in range(shifts_right):
            area = rows[down] * columns[right]
            floor = _UNRELIABLE * area + _ONE
            energy = max(energy_a[down, right], floor) * max(energy_b[down, right], floor)
            square = products[down, right] * abs(products[down, right]) * area / energy
            line[right] = square if area >= least else _NOTHING
            highest = max(highest, line[right])
        if highest > best:
            best, best_down = highest, down
            for right in range(shifts_right):
                if line[right] == highest:
                    best_right = right
    return np.sign(best) * np.sqrt(abs(best) / 1024), best_down, best_right


@njit(nogil=True, cache=True)
def _overlaps(side_a: int, side_b: int, shifts: int) -> NDArray[np.float32]:
    """Rows or columns that overlap at each shift; the first shift overlaps by as much as the last one."""
    out, first = np.empty(shifts, np.float32), (side_a + side_b - shifts + 1) // 2
    for shift in range(shifts):
        out[shift] = min(first + shift, first + shifts - 1 - shift, side_a, side_b)
    return out
