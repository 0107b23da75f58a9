"""Compiled: filters of small grey pictures. Pictures are float32 [height, width].

They are compiled because an alignment has some hundred such steps on tiny pictures, where a call of SciPy, Pillow or
NumPy costs more than its work. They work on all rows as one long row, because rows are too short to fill the
processor's registers.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Grid = NDArray[np.float32]
Line = NDArray[np.float32]

# Grey levels of contrast below which a difference counts as noise.
_NOISE = np.float32(6.0)
_CONTRAST_WIDTH = 1.5
# `add_products` takes as many weights at a time.
AT_ONCE = 4


@njit(nogil=True, cache=True, fastmath=True)
def local_contrast(grey: Grid, sigma: float) -> Grid:
    """Divides the difference from the blurred picture by its local spread: what remains under any light.

    Args:
        grey: luma.
        sigma: of the blur, cells.

    Returns:
        About −2…2; near 0 where the picture is plain.
    """
    detail: Grid = blurred(grey, sigma)
    squares = np.empty_like(detail)
    for y in range(grey.shape[0]):
        for x in range(grey.shape[1]):
            detail[y, x] = grey[y, x] - detail[y, x]
            squares[y, x] = detail[y, x] * detail[y, x]
    spread = blurred(squares, _CONTRAST_WIDTH * sigma)
    for y in range(grey.shape[0]):
        for x in range(grey.shape[1]):
            detail[y, x] /= np.sqrt(spread[y, x]) + _NOISE
    return detail


@njit(nogil=True, cache=True, fastmath=True)
def blurred(grey: Grid, sigma: float) -> Grid:
    """Blurs with a Gaussian along both axes; cells beyond an edge equal those at it."""
    height, width = grey.shape
    weights, reach = _gaussian(sigma)
    stride, count = width + 2 * reach, height * (width + 2 * reach)
    padded = np.zeros((height + 2 * reach + AT_ONCE) * stride, np.float32)
    for y in range(height + 2 * reach):
        source = grey[min(max(y - reach, 0), height - 1)]
        for x in range(stride):
            padded[y * stride + x] = source[min(max(x - reach, 0), width - 1)]
    down, across = np.zeros(count + stride, np.float32), np.zeros(count, np.float32)
    add_products(down[:count], weights, padded, stride)
    add_products(across, weights, down, 1)
    out = np.empty_like(grey)
    for y in range(height):
        for x in range(width):
            out[y, x] = across[y * stride + x]
    return out


@njit(nogil=True, cache=True, fastmath=True)
def _gaussian(sigma: float) -> tuple[Line, int]:
    """Returns weights, zeros behind them up to a whole number of `AT_ONCE`, and their reach to either side."""
    reach = int(3 * sigma + 0.5)
    weights, total = np.zeros((2 * reach + AT_ONCE) // AT_ONCE * AT_ONCE, np.float32), 0.0
    for k in range(2 * reach + 1):
        total += np.exp(-0.5 * ((k - reach) / sigma) ** 2)
    for k in range(2 * reach + 1):
        weights[k] = np.exp(-0.5 * ((k - reach) / sigma) ** 2) / total
    return weights, reach


@njit(nogil=True, cache=True, fastmath=True)
def add_products(to: Line, weights: Line, line: Line, step: int) -> None:
    """Adds weights[k] · line[i + k · step] to each to[i]; four weights at once, because reading and writing sums costs.

    Args:
        to: [count].
        weights: as many as a multiple of `AT_ONCE`.
        line: [count + len(weights) · step] at least, or what lies behind counts as undefined.
        step: between entries of `line` that are added up.
    """
    for k in range(0, len(weights), AT_ONCE):
        w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        l0, l1, l2, l3 = line[k * step :], line[(k + 1) * step :], line[(k + 2) * step :], line[(k + 3) * step :]
        for i in range(len(to)):
            to[i] += w0 * l0[i] + w1 * l1[i] + w2 * l2[i] + w3 * l3[i]


@njit(nogil=True, cache=True, fastmath=True)
def resized(grey: Grid, height: int, width: int) -> Grid:
    """Averages cells, each weighted by the area that the new cell covers of it."""
    squeezed, out = np.zeros((height, grey.shape[1]), np.float32), np.zeros((height, width), np.float32)
    step = grey.shape[0] / height
    for row in range(height):
        for source in range(int(row * step), min(grey.shape[0], int(np.ceil((row + 1) * step - 1e-9)))):
            weight = np.float32((min((row + 1) * step, source + 1.0) - max(row * step, float(source))) / step)
            for x in range(grey.shape[1]):
                squeezed[row, x] += weight * grey[source, x]
    step = grey.shape[1] / width
    for column in range(width):
        for source in range(int(column * step), min(grey.shape[1], int(np.ceil((column + 1) * step - 1e-9)))):
            weight = np.float32((min((column + 1) * step, source + 1.0) - max(column * step, float(source))) / step)
            for y in range(height):
                out[y, column] += weight * squeezed[y, source]
    return out
