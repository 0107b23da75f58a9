"""The network of the pair classifier as a compiled loop: the implementation that decides, in every process.

`keras_file.Network` → **padded tiles** → `network_kernels.probabilities`. A call costs microseconds, however few pairs
it scores, and needs no TensorFlow (docs/adr/0053).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neardup_platform.intrinsics import TILE_COLUMNS as T
from neardup_platform.scoring.keras_file import Dense, Network
from neardup_platform.scoring.network_kernels import Layers, probabilities

F32 = NDArray[np.float32]


class CompiledNetwork:
    """Computes probabilities; one object may be called by several threads at once."""

    def __init__(self, network: Network) -> None:
        self._layers = tiled(network)

    def __call__(self, features: F32) -> F32:
        """Returns the probability of each pair, float32 [n].

        Args:
            features: float32 [n, features], finite, C order.
        """
        out = np.empty(len(features), np.float32)
        probabilities(features, self._layers, out)
        return out


def tiled(network: Network) -> Layers:
    """Returns the weights of a network in the order in which the loop reads them."""
    first, second, last = zip(*network.members, strict=True)
    calibration = network.calibration
    share = np.float32(1 / len(last))
    offset = np.mean([layer.bias[0] for layer in last], dtype=np.float32)
    return Layers(
        mean=network.mean,
        scale=np.float32(1) / network.deviation,
        first=_tiles([layer.kernel for layer in first]),
        first_bias=_biases(first),
        second=_tiles([_rows_padded(layer.kernel) for layer in second]),
        second_bias=_biases(second),
        last=_columns_padded(np.concatenate([_rows_padded(layer.kernel * share) for layer in last])),
        slope=calibration.kernel[0, 0],
        offset=calibration.kernel[0, 0] * offset + calibration.bias[0],
        members=len(last),
    )


def _tiles(kernels: Sequence[F32]) -> F32:
    """Returns the columns of all kernels, padded, one tile below the other, float32 [tiles · inputs, T]."""
    padded = (_columns_padded(kernel) for kernel in kernels)
    return np.concatenate([tile for kernel in padded for tile in np.split(kernel, kernel.shape[1] // T, axis=1)])


def _biases(layers: Sequence[Dense]) -> F32:
    return np.concatenate([_columns_padded(layer.bias[None])[0] for layer in layers])


def _columns_padded(matrix: F32) -> F32:
    return np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % T)))


def _rows_padded(matrix: F32) -> F32:
    return np.pad(matrix, ((0, -matrix.shape[0] % T), (0, 0)))
