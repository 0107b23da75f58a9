"""The compiled loop of the pair classifier's network (numba): features in, probabilities out.

Features → **probabilities** → second look. Some rows pass through all layers together, so that they stay in the
first-level cache. Every sum has one order and every product is fused with its addition, so the probability of a pair
depends on its features alone: not on the other pairs of the call, and not on the vector length of the processor. The
loop releases the GIL.

A layer of several members is a matrix whose columns are the units of one tile: member after member, `TILE_COLUMNS`
units at a time, the weights of all inputs.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.intrinsics import TILE_COLUMNS, TILE_ROWS, add_product

F32 = NDArray[np.float32]
_U = np.uint64
_F = np.float32


class Layers(NamedTuple):
    """A network whose members share their inputs and whose outputs are averaged; T stands for `TILE_COLUMNS`.

    Units of a member are padded to a multiple of T, with weights of 0.

    Attributes:
        mean, scale: float32 [features]; the first layer sees (feature − mean) · scale.
        first: float32 [tiles · features, T], the tiles of all members' units, one after the other.
        first_bias: float32 [members · units of the first layer].
        second: float32 [tiles · units of the first layer, T], likewise; a tile reads the units of its own member.
        second_bias: float32 [members · units of the second layer].
        last: float32 [members · units of the second layer, T]; column 0 is the mean of the members' last layers.
        slope, offset: of the calibration: probability = sigmoid(slope · logit + offset).
        members: number of them.
    """

    mean: F32
    scale: F32
    first: F32
    first_bias: F32
    second: F32
    second_bias: F32
    last: F32
    slope: np.float32
    offset: np.float32
    members: int


@njit(nogil=True, cache=True)
def probabilities(features: F32, layers: Layers, out: F32) -> None:
    """Computes the probability of each pair.

    Args:
        features: float32 [n, features], finite.
        layers: of the network.
        out: float32 [n], receives the probabilities.
    """
    mean, scale, last = layers.mean, layers.scale, layers.last
    slope, offset, members = layers.slope, layers.offset, _U(layers.members)
    count, inputs = _U(features.shape[0]), _U(features.shape[1])
    scaled = np.zeros((TILE_ROWS, features.shape[1]), np.float32)
    hidden = np.empty((TILE_ROWS, layers.first_bias.shape[0]), np.float32)
    deeper = np.empty((TILE_ROWS, layers.second_bias.shape[0]), np.float32)
    logits = np.empty((TILE_ROWS, TILE_COLUMNS), np.float32)
    for start in range(_U(0), count, _U(TILE_ROWS)):
        rows = min(_U(TILE_ROWS), count - start)
        for row in range(rows):
            for d in range(inputs):
                scaled[row, d] = (features[start + row, d] - mean[d]) * scale[d]
        _dense(scaled, layers.first, layers.first_bias, _U(1), hidden)
        _dense(hidden, layers.second, layers.second_bias, members, deeper)
        logits[:] = _F(0)
        add_product(logits, _U(0), deeper, _U(0), last, _U(0), _U(last.shape[0]))
        for row in range(rows):
            logit = np.float64(slope * logits[row, _U(0)] + offset)
            out[start + row] = _F(1.0 / (1.0 + math.exp(-logit)))


@njit(nogil=True, cache=True, forceinline=True)
def _dense(x: F32, kernel: F32, bias: F32, groups: np.uint64, out: F32) -> None:
    """Computes a layer with the activation relu; the columns of x are those of `groups` groups, which do not mix."""
    terms, tiles = _U(x.shape[1]) // groups, _U(bias.shape[0]) // _U(TILE_COLUMNS)
    for row in range(_U(TILE_ROWS)):
        for unit in range(_U(bias.shape[0])):
            out[row, unit] = bias[unit]
    for tile in range(tiles):
        group = tile * groups // tiles
        add_product(out, tile * _U(TILE_COLUMNS), x, group * terms, kernel, tile * terms, terms)
    for row in range(_U(TILE_ROWS)):
        for unit in range(_U(bias.shape[0])):
            out[row, unit] = max(out[row, unit], _F(0))
