"""Compiled loops that compare queries with shortlisted images (numba): compact rows in, ranks out; see `nearness.py`.

As in `kernels.py` only sums may be reordered, and a distance depends on its query and its row alone.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.intrinsics import prefetch
from neardup_platform.scoring.compact_kernels import Compact, part_bytes, unpack_part

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

# Rows to prefetch ahead, and bytes of a cache line.
_AHEAD, _LINE = 8, 64
# Distances are 1 − cosine in steps of 2^−30.
_STEPS = np.float32(1 << 30)
_TINY = np.float32(1e-12)
_SUMS = {"reassoc", "contract", "nsz"}
_U = np.uint64
_F = np.float32
_LOW_32, _HIGH_32 = _U(0xFFFFFFFF), _U(0xFFFFFFFF00000000)


@njit(nogil=True, cache=True)
def compare_shortlists(rows: Compact, listed: I64, unit: F32, mean: F32, keys: U64, filled: I64) -> None:
    """Replaces the distance in every key by that of the vectors.

    Args:
        rows: uint8 [·, width], compact rows, which begin with the `lsh` vector.
        listed: int64, ascending, the ordinals of the rows; empty if a row's number is its ordinal.
        unit: float32 [q, dim], queries, centred and of length 1.
        mean: float32 [dim].
        keys: uint64 [q, ·], distance · 2^32 + ordinal; of an image without a row the distance becomes the largest.
        filled: int64 [q], keys of each query.
    """
    dim = unit.shape[1]
    vector, squared = np.empty(dim, np.float32), _product(mean, mean)
    own, width = np.empty(dim, np.float32), _U(part_bytes(dim))
    for query in range(_U(unit.shape[0])):
        for d in range(_U(dim)):
            own[d] = unit[query, d]
        offset, count = _product(own, mean), _U(filled[query])
        for i in range(count):
            if i + _U(_AHEAD) < count:
                ahead = _row(listed, keys[query, i + _U(_AHEAD)] & _LOW_32)
                if ahead < _U(rows.shape[0]):
                    for at in range(_U(0), width, _U(_LINE)):
                        prefetch(rows, ahead, at)
            ordinal = keys[query, i] & _LOW_32
            row = _row(listed, ordinal)
            if row >= _U(rows.shape[0]):
                keys[query, i] = _HIGH_32 | ordinal
                continue
            unpack_part(rows, row, _U(0), vector)
            along, across, square = _sums(vector, own, mean)
            # Of the vector x and the mean m: cos(q, x/|x| − m), with |x/|x| − m|² = 1 − 2·x·m/|x| + |m|².
            length = max(np.sqrt(square), _TINY)
            centred = max(_F(1) - _F(2) * across / length + squared, _TINY)
            cosine = (along / length - offset) / np.sqrt(centred)
            steps = (_F(1) - min(max(cosine, _F(-1)), _F(1))) * _STEPS
            keys[query, i] = (_U(np.int64(steps)) << _U(32)) | ordinal


@njit(nogil=True, cache=True, forceinline=True)
def _row(listed: I64, ordinal: np.uint64) -> np.uint64:
    """Returns the row of an image; one that does not exist if it has none."""
    if listed.shape[0] == 0:
        return ordinal
    at = np.searchsorted(listed, np.int64(ordinal))
    return _U(at) if at < listed.shape[0] and listed[at] == np.int64(ordinal) else _LOW_32


@njit(nogil=True, cache=True, fastmath=_SUMS, forceinline=True)
def _sums(vector: F32, unit: F32, mean: F32) -> tuple[np.float32, np.float32, np.float32]:
    """Returns the products of a vector with two others and with itself."""
    along, across, square = _F(0), _F(0), _F(0)
    for d in range(_U(vector.shape[0])):
        along += vector[d] * unit[d]
        across += vector[d] * mean[d]
        square += vector[d] * vector[d]
    return along, across, square


@njit(nogil=True, cache=True, fastmath=_SUMS, forceinline=True)
def _product(one: F32, other: F32) -> np.float32:
    total = _F(0)
    for d in range(_U(other.shape[0])):
        total += one[d] * other[d]
    return total
