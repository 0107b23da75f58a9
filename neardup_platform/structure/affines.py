"""Compiled: affine transforms between the cells of two pictures.

An affine is float64 [2, 3] and maps (x, y, 1), the middle of a cell, to another picture.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Affine = NDArray[np.float64]


@njit(nogil=True, cache=True)
def scaling(across: float, down: float) -> Affine:
    """Returns the transform between two sizes of one picture."""
    return np.array([[across, 0.0, across / 2 - 0.5], [0.0, down, down / 2 - 0.5]])


@njit(nogil=True, cache=True)
def between_sizes(height: int, width: int, other_height: int, other_width: int) -> Affine:
    """Returns the transform that lays the whole of one picture on the whole of another."""
    placed: Affine = scaling(other_width / width, other_height / height)
    return placed


@njit(nogil=True, cache=True)
def after(second: Affine, first: Affine) -> Affine:
    """Returns the transform that applies `first`, then `second`."""
    out = np.empty((2, 3))
    for row in range(2):
        for column in range(3):
            out[row, column] = second[row, 0] * first[0, column] + second[row, 1] * first[1, column]
        out[row, 2] += second[row, 2]
    return out


@njit(nogil=True, cache=True)
def determinant(affine: Affine) -> float:
    """Returns by how much areas grow; negative where the transform mirrors."""
    value: float = affine[0, 0] * affine[1, 1] - affine[0, 1] * affine[1, 0]
    return value


@njit(nogil=True, cache=True)
def inverse(affine: Affine) -> Affine:
    """Returns the transform back.

    Raises:
        ZeroDivisionError: there is none.
    """
    (p, q, across), (r, s, down), size = affine[0], affine[1], determinant(affine)
    out = np.array([[s, -q, q * down - s * across], [-r, p, r * across - p * down]])
    back: Affine = out / size
    return back


@njit(nogil=True, cache=True)
def is_plausible(affine: Affine) -> bool:
    """Whether two pictures of about equally many cells can lie over each other like this."""
    size = abs(determinant(affine))
    return bool(np.isfinite(affine).all() and 0.08 < size < 12.5)
