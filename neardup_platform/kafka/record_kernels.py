"""Compiled loop (numba) over the records of a Kafka record batch, which kafka-python reads one by one in Python.

Format: https://kafka.apache.org/documentation/#recordbatch. A record is `length, attributes, timestamp delta, offset
delta, key, value, headers`; numbers are zigzag varints, a length of -1 is null.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

_U = np.uint64


@njit(nogil=True, cache=True)
def _varint(data: NDArray[np.uint8], at: int, end: int) -> tuple[np.int64, int]:
    """A number and the place after it; -1 as the place where it is cut off or too long."""
    value, shift = _U(0), _U(0)
    while at < end and shift < _U(64):
        byte = data[at]
        at += 1
        value |= _U(byte & 0x7F) << shift
        if byte < 0x80:
            return np.int64(value >> _U(1)) ^ -np.int64(value & _U(1)), at
        shift += _U(7)
    return np.int64(0), -1


@njit(nogil=True, cache=True)
def read_records(
    data: NDArray[np.uint8],
    at: int,
    offsets: NDArray[np.int64],
    times: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> bool:
    """Finds the values of the records of a batch.

    Args:
        data: the decompressed batch.
        at: where its first record begins.
        offsets, times, starts, ends: int64 [records], receive the offset delta, the timestamp delta and the place of
            the value, empty where it is null.

    Returns:
        Whether the batch holds exactly as many well-formed records.
    """
    size = len(data)
    for n in range(len(offsets)):
        length, at = _varint(data, at, size)
        end = at + length
        if at < 0 or length < 1 or end > size:
            return False
        times[n], at = _varint(data, at + 1, end)
        if at < 0:
            return False
        offsets[n], at = _varint(data, at, end)
        if at < 0:
            return False
        key, at = _varint(data, at, end)
        if at < 0 or key > end - at:
            return False
        value, at = _varint(data, at + max(key, 0), end)
        if at < 0 or value > end - at:
            return False
        starts[n], ends[n] = at, at + max(value, 0)
        at = end
    return at == size
