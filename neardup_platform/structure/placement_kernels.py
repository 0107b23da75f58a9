"""Compiled: what the placement of one picture on another, and their colours there, say about the pair.

Feature numbers are those of `agreement.NAMES`.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.structure.affines import Affine, determinant

Colours = NDArray[np.float32]

_FAR = 255.0


@njit(nogil=True, cache=True)
def judge_placement(affine: Affine, out: NDArray[np.float32]) -> None:
    """Computes features 23 to 27 from the polar decomposition of the linear part, which is its nearest rotation.

    Args:
        affine: float64 [2, 3], invertible.
        out: receives the features.
    """
    p, q, r, s = affine[0, 0], affine[0, 1], affine[1, 0], affine[1, 1]
    size = determinant(affine)
    turning, mirroring = np.hypot(p + s, r - q), np.hypot(p - s, q + r)
    degrees = np.degrees(np.arctan2(q + r, s - p) if size < 0 else np.arctan2(r - q, p + s))
    out[23] = abs(np.log(abs(size))) / 2
    out[24] = abs((degrees + 45) % 90 - 45)
    # Singular values are half the sum and half the difference of these lengths.
    out[25] = np.log((turning + mirroring) / max(abs(turning - mirroring), 1e-12))
    out[26], out[27] = size < 0, abs(degrees) > 45


@njit(nogil=True, cache=True)
def judge_colours(
    frame: Colours, shape: tuple[int, int], over: Colours, over_shape: tuple[int, int], affine: Affine, out: Colours
) -> None:
    """Computes features 28 to 31.

    Args:
        frame, over: float32 [4, 4, 3], RGB, of the frame and of the picture over it.
        shape, over_shape: heights and widths of their sketches.
        affine: from the frame's cells to those of the other picture.
        out: receives the features.
    """
    side = frame.shape[0]
    compared, chroma_sum, chroma_most, colour_sum, colour_most = 0, 0.0, 0.0, 0.0, 0.0
    for row in range(side):
        for column in range(side):
            for channel in range(3):
                difference = abs(frame[row, column, channel] - over[row, column, channel])
                colour_sum, colour_most = colour_sum + difference, max(colour_most, difference)
            # What lies over the middle of this cell of colour.
            x, y = (column + 0.5) / side * shape[1] - 0.5, (row + 0.5) / side * shape[0] - 0.5
            to_x = (affine[0, 0] * x + affine[0, 1] * y + affine[0, 2] + 0.5) / over_shape[1] * side
            to_y = (affine[1, 0] * x + affine[1, 1] * y + affine[1, 2] + 0.5) / over_shape[0] * side
            if 0 <= to_x < side and 0 <= to_y < side:
                difference = _chroma_difference(frame[row, column], over[int(to_y), int(to_x)])
                chroma_sum, chroma_most, compared = chroma_sum + difference, max(chroma_most, difference), compared + 1
    out[28], out[29] = (chroma_sum / compared, chroma_most) if compared else (_FAR, _FAR)
    out[30], out[31] = np.log1p(colour_sum / frame.size), np.log1p(colour_most)


@njit(nogil=True, cache=True)
def _chroma_difference(one: Colours, other: Colours) -> float:
    """Mean difference of blue and red, each less luma."""
    red, green, blue = one[0] - other[0], one[1] - other[1], one[2] - other[2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    difference: float = (abs(blue - luma) + abs(red - luma)) / 2
    return difference
