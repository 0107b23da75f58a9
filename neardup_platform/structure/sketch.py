"""The sketch of a picture: a small grey picture and its colours, packed into numbers that float16 holds exactly.

Pixels → **sketch** → alignment. A sketch keeps the aspect ratio, and every cell covers
an equal share of the picture, so that two sketches can be laid over each other like the pictures themselves. It is
coded as AMBTC (Lema and Mitchell, *Absolute Moment Block Truncation Coding*, 1984): each block of 4×4 cells has a mean,
a spread, and one bit for each cell, brighter or darker than the mean. Edges survive, which is what aligning needs.

Layout, 818 entries, each a whole number of 0…2047:

    0, 1         columns and rows of blocks, columns × rows ≤ 256; both 0: no sketch
    2…49         mean red, green, blue of a 4×4 grid, in eighths of a level
    50…817       of each block, row by row: 32 · mean (0…63) + spread (0…31), then two entries of 8 bits,
                 cell by cell, the first cell lowest

Means are linear in 0…255. Spreads are half the distance of the two levels, on a square-root scale up to 127.5.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

COLOUR_GRID = 4
BLOCK_PX = 4
MOST_BLOCKS = 256
# Longer pictures are squeezed to this ratio of their sides.
MOST_ASPECT = 8.0
HEAD = 2
_BLOCKS_AT = HEAD + 3 * COLOUR_GRID**2
ENTRIES = _BLOCKS_AT + 3 * MOST_BLOCKS
_MOST_MEAN, _MOST_SPREAD, _MOST_CODE = 63, 31, 2_047
_LEVELS, _WIDEST = 255.0, 127.5
_EIGHTHS = 8.0
# A ratio of sides that differs by less than this from the picture's is as good as equal.
_ASPECT_TOLERANCE = 0.06

Grid = NDArray[np.float32]


class Sketch(NamedTuple):
    """A decoded sketch.

    Attributes:
        grey: float32 [height, width], luma 0…255; empty where there is none.
        colours: float32 [4, 4, 3], RGB 0…255.
    """

    grey: Grid
    colours: NDArray[np.float32]


def sketch_size(width: int, height: int) -> tuple[int, int]:
    """Returns the columns and rows of blocks for a picture of this size: near its ratio of sides, and many."""
    aspect = min(MOST_ASPECT, max(1 / MOST_ASPECT, width / height))
    rows = np.arange(1, MOST_BLOCKS + 1)
    columns = np.clip(np.round(aspect * rows), 1, MOST_BLOCKS // rows)
    error = np.abs(np.log(columns / rows / aspect))
    best = int(np.lexsort((-columns * rows, np.maximum(error, _ASPECT_TOLERANCE)))[0])
    return int(columns[best]), int(rows[best])


def encode_sketch(grey: Grid, colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Packs a sketch.

    Args:
        grey: float32 [4 · rows, 4 · columns], luma 0…255; the size as of `sketch_size`.
        colours: float32 [4, 4, 3], RGB 0…255.

    Returns:
        float32 [818], whole numbers of 0…2047.
    """
    rows, columns = (side // BLOCK_PX for side in grey.shape)
    cells = grey.reshape(rows, BLOCK_PX, columns, BLOCK_PX).transpose(0, 2, 1, 3).reshape(-1, BLOCK_PX**2)
    bright = cells > cells.mean(axis=1, keepdims=True)
    count = bright.sum(axis=1)
    upper = (cells * bright).sum(axis=1) / np.maximum(count, 1)
    lower = (cells * ~bright).sum(axis=1) / (BLOCK_PX**2 - count)
    upper = np.where(count > 0, upper, lower)
    mean = np.round((upper + lower) / 2 * (_MOST_MEAN / _LEVELS))
    spread = np.round(np.sqrt((upper - lower) / 2 / _WIDEST) * _MOST_SPREAD)
    bits = np.packbits(bright, axis=1, bitorder="little")
    entries = np.zeros(ENTRIES, np.float32)
    entries[:HEAD] = columns, rows
    entries[HEAD:_BLOCKS_AT] = np.round(colours.ravel() * _EIGHTHS)
    packed = np.column_stack([mean * (_MOST_SPREAD + 1) + spread, bits[:, 0], bits[:, 1]])
    entries[_BLOCKS_AT : _BLOCKS_AT + packed.size] = packed.ravel()
    return entries


def have_sketches(heads: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Returns which entries hold a sketch, bool [n], without decoding them: vectors of other producers hold none.

    Args:
        heads: [n, HEAD], the first entries of each.
    """
    blocks = _whole(heads).prod(axis=1)
    return np.asarray((blocks > 0) & (blocks <= MOST_BLOCKS))


def decode_sketch(entries: NDArray[np.floating]) -> Sketch:
    """Unpacks a sketch; entries of any finite values give a sketch of valid size, possibly of nonsense.

    Args:
        entries: [818], of `encode_sketch` or of a producer that did not keep to the layout.
    """
    whole = _whole(entries)
    columns, rows = int(whole[0]), int(whole[1])
    colours = (whole[HEAD:_BLOCKS_AT] / _EIGHTHS).astype(np.float32).reshape(COLOUR_GRID, COLOUR_GRID, 3)
    if not 0 < columns * rows <= MOST_BLOCKS:
        return Sketch(np.zeros((0, 0), np.float32), colours)
    return Sketch(_unpack(whole[_BLOCKS_AT:], columns, rows), colours)


def _whole(entries: NDArray[np.floating]) -> NDArray[np.intp]:
    # fmax takes 0 for what is not a number.
    return np.fmin(np.fmax(np.asarray(entries, np.float32), 0), _MOST_CODE).astype(np.intp)


def _unpack(blocks: NDArray[np.intp], columns: int, rows: int) -> Grid:
    codes = blocks[: 3 * columns * rows].reshape(-1, 3)
    bright = np.unpackbits(codes[:, 1:].astype(np.uint8), axis=1, bitorder="little")
    lower, upper = _LEVELS_OF_CODE[codes[:, 0]].T[:, :, None]
    cells = np.where(bright.view(np.bool_), upper, lower)
    grid = cells.reshape(rows, columns, BLOCK_PX, BLOCK_PX).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(grid).reshape(rows * BLOCK_PX, columns * BLOCK_PX)


def _levels_of_code() -> NDArray[np.float32]:
    """Both levels of a block for each value of its first entry: float32 [2048, 2]."""
    code = np.arange(_MOST_CODE + 1)
    mean = (code >> 5) * (_LEVELS / _MOST_MEAN)
    spread = ((code & _MOST_SPREAD) / _MOST_SPREAD) ** 2 * _WIDEST
    return np.stack([mean - spread, mean + spread], axis=1).astype(np.float32)


_LEVELS_OF_CODE = _levels_of_code()
