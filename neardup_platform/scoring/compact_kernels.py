"""Compiled loops that write and read compact rows (numba); see `compact.py`."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.intrinsics import EXPANDED, expand, single_of_half

Compact = NDArray[np.uint8]
# Vectors as the bits of float16, because numba has no float16 on CPUs.
Bits = NDArray[np.uint16]
F32 = NDArray[np.float32]

# Entries that share a magnitude.
GROUP = EXPANDED
STEPS = 127
_U = np.uint64
_F = np.float32
_SQUARE = np.float32(1 / STEPS**2)
_SIGN, _MAGNITUDE = np.uint16(0x8000), np.uint16(0x7FFF)


@njit(nogil=True, cache=True)
def groups_of(entries: int) -> int:
    """Returns how many groups one vector has."""
    return (entries + GROUP - 1) // GROUP


@njit(nogil=True, cache=True)
def part_bytes(entries: int) -> int:
    """Returns the bytes that one vector takes in a row."""
    return 2 * groups_of(entries) + entries


@njit(nogil=True, cache=True, forceinline=True)
def unpack_part(rows: Compact, row: np.uint64, start: np.uint64, out: F32) -> None:
    """Reads one vector of a compact row, from the byte `start` on, into float32 [entries]."""
    entries = _U(out.shape[0])
    groups = _U(groups_of(out.shape[0]))
    body = start + _U(2) * groups
    for group in range(entries // _U(GROUP)):
        first = group * _U(GROUP)
        expand(rows, row, body + first, _scale(rows, row, start + _U(2) * group), out, first)
    if entries % _U(GROUP):
        scale = _scale(rows, row, start + _U(2) * (groups - _U(1)))
        for d in range((groups - _U(1)) * _U(GROUP), entries):
            q = _F(np.int8(rows[row, body + d]))
            out[d] = q * abs(q) * scale


@njit(nogil=True, cache=True)
def unpack_rows(rows: Compact, start: int, out: F32) -> None:
    """Reads one vector of every compact row, from the byte `start` on, into float32 [n, entries]."""
    for row in range(_U(rows.shape[0])):
        unpack_part(rows, row, _U(start), out[row])


@njit(nogil=True, cache=True, forceinline=True)
def _scale(rows: Compact, row: np.uint64, at: np.uint64) -> np.float32:
    magnitude = np.uint16(rows[row, at]) | np.uint16(np.uint16(rows[row, at + _U(1)]) << np.uint16(8))
    scale: np.float32 = single_of_half(np.uint16(magnitude)) * _SQUARE
    return scale


@njit(nogil=True, cache=True)
def pack_part(vectors: Bits, body: Compact, magnitudes: F32) -> None:
    """Writes the first entries of vectors, finite float16 as bits.

    Args:
        body: uint8 [n, entries], receives every q.
        magnitudes: float32 [n, groups], receives every m, which makes a group as long as it was.
    """
    entries = _U(body.shape[1])
    shares, roots = np.empty(GROUP, np.float32), np.empty(GROUP, np.int32)
    for row in range(_U(body.shape[0])):
        for group in range(_U(magnitudes.shape[1])):
            first = group * _U(GROUP)
            count = min(_U(GROUP), entries - first)
            # The bits of magnitudes of float16 are in the order of the magnitudes.
            largest = np.uint16(0)
            for d in range(count):
                largest = max(largest, np.uint16(vectors[row, first + d] & _MAGNITUDE))
            inverse = _F(1) / single_of_half(largest) if largest else _F(0)
            for d in range(count):
                shares[d] = single_of_half(np.uint16(vectors[row, first + d] & _MAGNITUDE)) * inverse
            for d in range(count):
                roots[d] = np.int32(_F(STEPS) * np.sqrt(shares[d]) + _F(0.5))
            square, kept = _F(0), np.int64(0)
            for d in range(count):
                square += shares[d] * shares[d]
            for d in range(count):
                kept += np.int64(roots[d] * roots[d] * roots[d] * roots[d])
            for d in range(count):
                sign = np.int32(1) - np.int32((vectors[row, first + d] & _SIGN) >> np.uint16(14))
                body[row, first + d] = np.uint8(sign * roots[d])
            scale = np.sqrt(square / _F(kept)) if kept else _F(0)
            magnitudes[row, group] = single_of_half(largest) * scale * _F(STEPS * STEPS)
