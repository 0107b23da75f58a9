"""Compiled: how well two pictures agree, block by block, once one is laid over the other.

Feature numbers are those of `agreement.NAMES`.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

_STEP, _TILES = 3, 2
_BLOCK = _STEP * _TILES
_LEAST_SHARE = 0.6
# Variances of luma: what counts as texture, what makes a block count no more, and what stabilises ratios.
_TEXTURE, _STRONG, _NOISE = 25.0, 900.0, 9.0
_DIFFERING, _CONTRADICTING, _REPLACED, _ONE_SIDED = 0.5, 0.2, 0.4, 0.25
DIFFERING, TILE_CELLS = _DIFFERING, _STEP
# Blocks of less texture agree or differ by chance: enough of them average out in a feature, and none is worth showing.
_SHOWN_TEXTURE = 100.0
LEAST_CELLS = 40


@njit(nogil=True, cache=True)
def judge_blocks(  # noqa: C901, PLR0912, PLR0915 -- one pass over the blocks; its parts share a dozen sums
    grey: NDArray[np.float32],
    other: NDArray[np.float32],
    covered: NDArray[np.bool_],
    detail: NDArray[np.float32],
    other_detail: NDArray[np.float32],
    back: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Computes features 2 to 22 and 32 to 34.

    Args:
        grey: luma of the frame.
        other: the other picture, laid over it.
        covered: where it lies.
        detail, other_detail: local contrast of the frame, and of the other picture where it was.
        back: affine [2, 3] from the other picture to the frame.
        out: receives the features.
    """
    height, width = grey.shape
    cells, energy, inside = 0, 1e-6, 0.0
    for y in range(height):
        for x in range(width):
            square = detail[y, x] * detail[y, x]
            energy += square
            if covered[y, x]:
                inside += square
                cells += 1
    share, detail_share = cells / (height * width), inside / energy
    other_share, other_detail_share = _shares_inside(other_detail, back, height, width)
    out[2], out[3] = max(share, other_share), min(share, other_share)
    out[4], out[5] = min(detail_share, other_detail_share), max(detail_share, other_detail_share)
    if cells < LEAST_CELLS:
        return
    rows, columns = max(1, (height - _BLOCK) // _STEP + 1), max(1, (width - _BLOCK) // _STEP + 1)
    agreement, ground = np.empty(rows * columns), np.empty(rows * columns)
    tiles = _sums_of_tiles(grey, other, covered)
    blocks, textured, replaced_blocks = 0, 0, 0
    texture_a, texture_b = 0, 0
    total, differing, contradicting, replaced, added, mean = 1e-9, 0.0, 0.0, 0.0, 0.0, 0.0
    for block in range(rows * columns):
        top, left = block // columns, block % columns
        n, s, t, one, two, both = _moments(tiles[top : top + _TILES, left : left + _TILES])
        if n < _LEAST_SHARE * _BLOCK * _BLOCK:
            continue
        ground[blocks] = s - t
        blocks += 1
        texture_a += one > _TEXTURE
        texture_b += two > _TEXTURE
        more, less = max(one, two), min(one, two)
        if more <= _TEXTURE:
            continue
        value, counts = both / (np.sqrt(one * two) + _NOISE), np.sqrt(min(more, _STRONG))
        agreement[textured] = value
        textured += 1
        total += counts
        mean += value * counts
        differing += counts * (value < _DIFFERING)
        contradicting += counts * (value < _CONTRADICTING)
        if value < _REPLACED:
            if less > _ONE_SIDED * more:
                replaced += counts
                replaced_blocks += 1
            else:
                added += counts
    out[6], out[7] = np.log1p(textured), textured / max(1, blocks)
    if textured:
        out[8] = mean / total
        ordered = np.sort(agreement[:textured])
        for k, quantile in enumerate((0.02, 0.05, 0.1, 0.25, 0.5)):
            out[9 + k] = ordered[int(quantile * (textured - 1))]
        out[14], out[15], out[16], out[17] = differing / total, contradicting / total, replaced / total, added / total
        out[18] = np.log1p(replaced_blocks)
    else:
        out[8:18] = -1.0
    _judge_brightness(tiles, out)
    if blocks:
        middle = ground[:blocks].mean()
        out[32] = np.sort(np.abs(ground[:blocks] - middle))[int(0.95 * (blocks - 1))]
    out[33], out[34] = min(texture_a, texture_b) / max(1, blocks), max(texture_a, texture_b) / max(1, blocks)


@njit(nogil=True, cache=True)
def textured_blocks(grey: NDArray[np.float32]) -> int:
    """Returns how many blocks of a picture of float32 [height, width] have texture."""
    tiles = _sums_of_tiles(grey, grey, np.ones(grey.shape, np.bool_))
    rows, columns = max(1, tiles.shape[0] - _TILES + 1), max(1, tiles.shape[1] - _TILES + 1)
    count = 0
    for block in range(rows * columns):
        top, left = block // columns, block % columns
        count += _moments(tiles[top : top + _TILES, left : left + _TILES])[3] > _TEXTURE
    return count


@njit(nogil=True, cache=True)
def _sums_of_tiles(
    grey: NDArray[np.float32], other: NDArray[np.float32], covered: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Sums over the covered cells of each tile of 3×3, of which blocks consist: cells, both, squares, product."""
    height, width = grey.shape
    sums = np.zeros(((height + _STEP - 1) // _STEP, (width + _STEP - 1) // _STEP, 6))
    for row in range(sums.shape[0]):
        for column in range(sums.shape[1]):
            n, s, t, ss, tt, st = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for y in range(row * _STEP, min(row * _STEP + _STEP, height)):
                for x in range(column * _STEP, min(column * _STEP + _STEP, width)):
                    if covered[y, x]:
                        p, q = float(grey[y, x]), float(other[y, x])
                        n, s, t, ss, tt, st = n + 1, s + p, t + q, ss + p * p, tt + q * q, st + p * q
            tile = sums[row, column]
            tile[0], tile[1], tile[2], tile[3], tile[4], tile[5] = n, s, t, ss, tt, st
    return sums


@njit(nogil=True, cache=True)
def _moments(tiles: NDArray[np.float64]) -> tuple[float, float, float, float, float, float]:
    """Returns cells, both means, both variances and the covariance of a rectangle of tiles."""
    n, s, t, ss, tt, st = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for y in range(tiles.shape[0]):
        for x in range(tiles.shape[1]):
            tile = tiles[y, x]
            n, s, t, ss, tt, st = n + tile[0], s + tile[1], t + tile[2], ss + tile[3], tt + tile[4], st + tile[5]
    if not n:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    s, t = s / n, t / n
    return n, s, t, max(0.0, ss / n - s * s), max(0.0, tt / n - t * t), st / n - s * t


@njit(nogil=True, cache=True)
def _judge_brightness(tiles: NDArray[np.float64], out: NDArray[np.float32]) -> None:
    """Computes features 19 to 22: how well a linear change of brightness explains the difference."""
    _, s, t, one, two, both = _moments(tiles)
    gain = (both + 4.0) / (two + 4.0)
    left = max(0.0, one - 2 * gain * both + gain * gain * two)
    out[19] = both / (np.sqrt(one * two) + _NOISE)
    out[20] = np.sqrt(left) / (np.sqrt(one) + 3.0)
    out[21] = abs(np.log(gain)) if gain > 1e-3 else 7.0
    out[22] = min(64.0, abs(s - t))


@njit(nogil=True, cache=True)
def _shares_inside(
    detail: NDArray[np.float32], affine: NDArray[np.float64], height: int, width: int
) -> tuple[float, float]:
    """Shares of a picture's area and of the energy of its detail that lie within another picture of this size."""
    energy, cells, inside = 1e-6, 0, 0.0
    for y in range(detail.shape[0]):
        for x in range(detail.shape[1]):
            square = detail[y, x] * detail[y, x]
            at_x = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
            at_y = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
            energy += square
            if -0.5 < at_x < width - 0.5 and -0.5 < at_y < height - 0.5:
                inside += square
                cells += 1
    return cells / detail.size, inside / energy


@njit(nogil=True, cache=True)
def agreement_of_tiles(
    grey: NDArray[np.float32], other: NDArray[np.float32], covered: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Returns the best agreement of the blocks that contain each tile of 3×3 cells, NaN where none has texture.

    The best, because a block disagrees as soon as one of its tiles does.

    Args:
        grey, other, covered: as of `judge_blocks`.
    """
    tiles = _sums_of_tiles(grey, other, covered)
    out = np.full(tiles.shape[:2], np.nan)
    for top in range(max(1, (grey.shape[0] - _BLOCK) // _STEP + 1)):
        for left in range(max(1, (grey.shape[1] - _BLOCK) // _STEP + 1)):
            n, _, _, one, two, both = _moments(tiles[top : top + _TILES, left : left + _TILES])
            if n < _LEAST_SHARE * _BLOCK * _BLOCK or max(one, two) <= _SHOWN_TEXTURE:
                continue
            value = both / (np.sqrt(one * two) + _NOISE)
            for y in range(top, min(top + _TILES, out.shape[0])):
                for x in range(left, min(left + _TILES, out.shape[1])):
                    if not out[y, x] >= value:
                        out[y, x] = value
    return out
