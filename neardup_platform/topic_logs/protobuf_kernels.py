"""Compiled loops (numba) over the wire format of many protobuf messages: where each field occurs, and its bytes.

Format: https://protobuf.dev/programming-guides/encoding. All loops release the GIL.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_U = np.uint64
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Places of numbers without a field.
SKIPPED, UNEXPECTED = -1, -2
# Bytes from which on a call of memcpy costs less than a loop.
_LONG = 64


@njit(nogil=True, cache=True)
def _varint(data: NDArray[np.uint8], at: int, end: int) -> tuple[np.uint64, int]:
    """A number and the place after it; -1 as the place where it is cut off or has more than 64 bits."""
    value, shift = _U(0), _U(0)
    while at < end and shift < _U(70):
        byte = data[at]
        at += 1
        if shift == _U(63) and byte > 1:
            break
        value |= _U(byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += _U(7)
    return _U(0), -1


@njit(nogil=True, cache=True)
def _value(data: NDArray[np.uint8], at: int, end: int, wire: int) -> tuple[np.uint64, Any, Any]:
    """The number at a place, or where bytes begin; how many bytes; the place after it, -1 if it is malformed."""
    if wire == VARINT:
        number, at = _varint(data, at, end)
        return number, 0, at
    if wire == BYTES:
        size, at = _varint(data, at, end)
        if at < 0 or size > _U(end - at):
            return _U(0), 0, -1
        return _U(at), np.int64(size), at + np.int64(size)
    width = 8 if wire == FIXED64 else 4
    if wire not in (FIXED64, FIXED32) or end - at < width:
        return _U(0), 0, -1
    number = _U(0)
    for k in range(width):
        number |= _U(data[at + k]) << _U(8 * k)
    return number, 0, at + width


@njit(nogil=True, cache=True)
def find_fields(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    plan: tuple[NDArray[np.int64], NDArray[np.int64]],
    counts: NDArray[np.int64],
    odd: NDArray[np.bool_],
    found: tuple[NDArray[np.int32], NDArray[np.uint64], NDArray[np.int32]],
) -> None:
    """Finds every occurrence of the fields of a message type.

    Called twice: first with empty arrays to count, then with `counts` as the places to write to.

    Args:
        starts, ends: int64 [n], places of the messages in `data`.
        plan: the place of a field by its number, int64 [numbers], SKIPPED or UNEXPECTED for numbers without one; entry
            0 holds for all further numbers. And the wire type of each field, int64 [fields].
        counts: int64 [fields], increased by the occurrences.
        odd: bool [n], set for messages that need a closer look: malformed, or with a group, another wire type or an
            unexpected field.
        found: [occurrences], receive the number of the message; the number that was read, or the place of the bytes;
            and how many bytes.
    """
    (places, wires), (rows, values, sizes) = plan, found
    write = len(rows) > 0
    for n in range(len(starts)):
        at, end = starts[n], ends[n]
        while at < end:
            began = at
            tag, at = _varint(data, at, end)
            if at < 0 or at - began > 5 or tag < _U(8) or tag >= _U(1) << _U(32):
                odd[n] = True
                break
            wire, number = np.int64(tag & _U(7)), np.int64(tag >> _U(3))
            value, size, at = _value(data, at, end, wire)
            place = places[number] if number < len(places) else places[0]
            if at < 0 or place == UNEXPECTED or (place >= 0 and wires[place] != wire):
                odd[n] = True
                break
            if place >= 0:
                if write:
                    rows[counts[place]], values[counts[place]], sizes[counts[place]] = n, value, size
                counts[place] += 1


@njit(nogil=True, cache=True)
def gather(
    data: NDArray[np.uint8], starts: NDArray[np.int64], offsets: NDArray[np.int32], out: NDArray[np.uint8]
) -> None:
    """Copies pieces of `data` one after another.

    Args:
        starts: int64 [n].
        offsets: int32 [n + 1], where each piece begins in `out`.
    """
    for n in range(len(starts)):
        at, to, size = starts[n], offsets[n], offsets[n + 1] - offsets[n]
        if size >= _LONG:
            out[to : to + size] = data[at : at + size]
            continue
        for k in range(size):
            out[to + k] = data[at + k]
