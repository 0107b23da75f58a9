"""Compiled: one picture laid over another, and the affine between them refined at a smaller size.

Pictures are float32 [height, width]; affines float64 [2, 3] map (x, y, 1), the middle of a cell, to another picture.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.structure.affines import Affine, after, between_sizes, inverse
from neardup_platform.structure.refinement_kernels import correlation, interpolate, refine

Grid = NDArray[np.float32]
Mask = NDArray[np.bool_]


@njit(nogil=True, cache=True)
def refine_at_size(
    a: Grid, small_a: Grid, b: Grid, small_b: Grid, affine: Affine, most_steps: int
) -> tuple[Affine, float, float]:
    """Refines an affine from `a` to `b` on smaller copies of them.

    Args:
        a, b: at full size.
        small_a, small_b: their local contrasts at a smaller one.
        affine: between the full sizes.
        most_steps: see `refine`.

    Returns:
        The affine, the correlation of local contrast, and its significance: the correlation times the square root of
        the share of the first picture that is covered, because chance agrees well only over little.
    """
    down_a = between_sizes(a.shape[0], a.shape[1], small_a.shape[0], small_a.shape[1])
    down_b = between_sizes(b.shape[0], b.shape[1], small_b.shape[0], small_b.shape[1])
    everything = np.ones(small_a.shape, np.bool_)
    small = after(down_b, after(affine, inverse(down_a)))
    refine(small_a, small_b, everything, small, most_steps)
    value, cells = correlation(small_a, small_b, everything, small)
    return after(inverse(down_b), after(small, down_a)), value, value * np.sqrt(cells / small_a.size)


@njit(nogil=True, cache=True, fastmath=True)
def laid_over(b: Grid, affine: Affine, height: int, width: int, samples: int) -> tuple[Grid, Mask]:
    """Samples `b` at the cells of a picture of this size, `samples`² a cell; also returns which cells `b` covers.

    Beyond its edges `b` continues as it is at them, so that no edge appears where it ends.
    """
    out, covered = np.zeros((height, width), np.float32), np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            at_x = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
            at_y = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
            covered[y, x] = -0.5 <= at_x <= b.shape[1] - 0.5 and -0.5 <= at_y <= b.shape[0] - 0.5
    for down in range(samples):
        for across in range(samples):
            dx, dy = (across + 0.5) / samples - 0.5, (down + 0.5) / samples - 0.5
            for y in range(height):
                for x in range(width):
                    out[y, x] += interpolate(b, affine, np.float32(x + dx), np.float32(y + dy))[1]
    return out / np.float32(samples * samples), covered


@njit(nogil=True, cache=True)
def eroded(covered: Mask, cells: int) -> Mask:
    """Leaves out cells that are at most so many steps, along rows and columns, from one that is not covered."""
    height, width = covered.shape
    inner = covered.copy()
    for _ in range(cells):
        before = inner.copy()
        for y in range(height):
            above, below, line = before[max(y - 1, 0)], before[min(y + 1, height - 1)], before[y]
            inner[y, 0] = line[0] & line[1] & above[0] & below[0]
            for x in range(1, width - 1):
                inner[y, x] = line[x - 1] & line[x] & line[x + 1] & above[x] & below[x]
            inner[y, width - 1] = line[width - 2] & line[width - 1] & above[width - 1] & below[width - 1]
    return inner
