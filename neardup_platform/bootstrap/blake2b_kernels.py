"""BLAKE2b with 16 bytes of output (RFC 7693), compiled, for the millions of hashes of a load.

hashlib takes a call for each, with the interpreter's lock held.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

SIZE = 16
_BLOCK = 128
_START = np.array(
    [
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
    ],
    np.uint64,
)
_ROUNDS = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.int64,
)


@njit(nogil=True, cache=True)
def _turn(word: np.uint64, bits: int) -> np.uint64:
    return (word >> np.uint64(bits)) | (word << np.uint64(64 - bits))


@njit(nogil=True, cache=True)
def _mix(v: U64, a: int, b: int, c: int, d: int, x: np.uint64, y: np.uint64) -> None:
    va, vb, vc, vd = v[a], v[b], v[c], v[d]
    va = va + vb + x
    vd = _turn(vd ^ va, 32)
    vc = vc + vd
    vb = _turn(vb ^ vc, 24)
    va = va + vb + y
    vd = _turn(vd ^ va, 16)
    vc = vc + vd
    vb = _turn(vb ^ vc, 63)
    v[a], v[b], v[c], v[d] = va, vb, vc, vd


@njit(nogil=True, cache=True)
def blake2b(message: Bytes, length: int, words: U64, v: U64, state: U64) -> None:
    """Hash the first bytes of a message.

    Args:
        message: uint8, larger than `length`; its rest is overwritten up to a whole block, at least one.
        length: of the message in bytes.
        words, v: uint64 [16], scratch.
        state: uint64 [8]; its first two words receive the hash, little-endian.
    """
    blocks = max(1, (length + _BLOCK - 1) // _BLOCK)
    message[length : blocks * _BLOCK] = 0
    for at in range(8):
        state[at] = _START[at]
    state[0] ^= np.uint64(0x01010000 ^ SIZE)
    for block in range(blocks):
        for at in range(16):
            word = np.uint64(0)
            for byte in range(8):
                word |= np.uint64(message[block * _BLOCK + 8 * at + byte]) << np.uint64(8 * byte)
            words[at] = word
        for at in range(8):
            v[at], v[8 + at] = state[at], _START[at]
        v[12] ^= np.uint64(min(length, (block + 1) * _BLOCK))
        if block == blocks - 1:
            v[14] = ~v[14]
        for turn in range(12):
            s = _ROUNDS[turn]
            _mix(v, 0, 4, 8, 12, words[s[0]], words[s[1]])
            _mix(v, 1, 5, 9, 13, words[s[2]], words[s[3]])
            _mix(v, 2, 6, 10, 14, words[s[4]], words[s[5]])
            _mix(v, 3, 7, 11, 15, words[s[6]], words[s[7]])
            _mix(v, 0, 5, 10, 15, words[s[8]], words[s[9]])
            _mix(v, 1, 6, 11, 12, words[s[10]], words[s[11]])
            _mix(v, 2, 7, 8, 13, words[s[12]], words[s[13]])
            _mix(v, 3, 4, 9, 14, words[s[14]], words[s[15]])
        for at in range(8):
            state[at] ^= v[at] ^ v[8 + at]
