"""Compiled: where one picture agrees best with another, at every shift, scale and orientation.

Pictures are float32 [height, width], local contrasts of a few hundred cells. At this size, adding up products cell by
cell is faster than Fourier transforms, and simpler.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.structure.affines import Affine, after, between_sizes, scaling
from neardup_platform.structure.filter_kernels import AT_ONCE, add_products, local_contrast, resized

Grid = NDArray[np.float32]

# Scales tried are powers of 2 ** (1 / STEPS_PER_OCTAVE) up to LEVELS - 1 in either direction: a picture and its central
# quarter differ by 2.
STEPS_PER_OCTAVE, LEVELS = 5, 7
# Bits of an orientation: mirrors left to right, upside down, and exchanges rows and columns, which comes first.
MIRRORED, UPSIDE_DOWN, EXCHANGED = 1, 2, 4
_BOTH_MIRRORED = MIRRORED | UPSIDE_DOWN
_LEAST_SIDE = 4
# Overlaps smaller than this share of the smaller picture prove nothing.
_LEAST_OVERLAP = 0.3
# Share of contrast that is taken to be noise where a picture is plain.
_UNRELIABLE = np.float32(1e-3)
_NOTHING, _ONE = np.float32(-1e9), np.float32(1.0)


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
        a = np.ascontiguousarray(levels_a[level_a, :rows_a, :columns_a])
        b = np.ascontiguousarray(levels_b[level_b, :rows_b, :columns_b])
        for exchanged in (0, EXCHANGED):
            upright = oriented(b, exchanged)
            overlap = _least_overlap(a, upright)
            energy_a, energy_b = energies(a, upright.shape, overlap), energies(upright, a.shape, overlap)
            for orientation in orientations:
                if orientation & EXCHANGED != exchanged:
                    continue
                # Seen from `b`, it is `a` that moves, the other way; and what turns `b` turns its energies.
                energy_turned = oriented(energy_b, (orientation & _BOTH_MIRRORED) ^ _BOTH_MIRRORED)
                products = correlations(a, oriented(b, orientation), overlap)
                significance, down, right = most_significant(products, energy_a, energy_turned, a.shape, upright.shape)
                found[count, 0], found[count, 1], found[count, 2] = significance, level_a, level_b
                found[count, 3] = orientation
                found[count, 4] = down - upright.shape[0] + overlap[0]
                found[count, 5] = right - upright.shape[1] + overlap[1]
                count += 1
    return found[:count].copy()


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
    return after(between_sizes(rows_b, columns_b, shape_b[0], shape_b[1]), after(undone, after(moved, to_level)))


@njit(nogil=True, cache=True)
def undo_orientation(orientation: int, height: int, width: int) -> Affine:
    """Returns the transform from the turned picture to the picture of this size."""
    if orientation & EXCHANGED:
        height, width = width, height
    undone = scaling(1.0, 1.0)
    if orientation & MIRRORED:
        undone[0, 0], undone[0, 2] = -1.0, width - 1.0
    if orientation & UPSIDE_DOWN:
        undone[1, 1], undone[1, 2] = -1.0, height - 1.0
    return undone[::-1].copy() if orientation & EXCHANGED else undone


@njit(nogil=True, cache=True)
def _least_overlap(a: Grid, b: Grid) -> tuple[int, int]:
    """Returns the fewest rows and columns of any overlap that is large enough."""
    least = _LEAST_OVERLAP * min(a.size, b.size)
    return int(np.ceil(least / min(a.shape[1], b.shape[1]))), int(np.ceil(least / min(a.shape[0], b.shape[0])))


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
def correlations(a: Grid, b: Grid, overlap: tuple[int, int]) -> Grid:
    """Sums of the products of both where they overlap, for each shift of `b` with enough overlap.

    Args:
        a, b: any two pictures.
        overlap: least number of rows, and of columns.

    Returns:
        float32 [rows of a + rows of b - 2 · overlap + 1, the same of columns]; [0, 0] is where the last rows and
        columns of `b` lie on the first ones of `a`.
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
def _correlations(a: Grid, b: Grid, overlap: tuple[int, int]) -> Grid:
    """As of `correlations`, with meaningless columns behind."""
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
def energies(grid: Grid, shape: tuple[int, int], overlap: tuple[int, int]) -> Grid:
    """Sums of the squares of `grid` under a picture of this shape, for each shift of it; as of `correlations`."""
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
    products: Grid, energy_a: Grid, energy_b: Grid, shape_a: tuple[int, int], shape_b: tuple[int, int]
) -> tuple[float, int, int]:
    """Returns the significance of the best shift, and its row and column in all three arrays.

    Significance is the normalised correlation times the square root of the overlap in units of 1,024 cells. Squares
    of it are compared, because roots take long.
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
