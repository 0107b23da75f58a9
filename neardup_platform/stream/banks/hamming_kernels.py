"""Compiled search for hashes of 256 bits within a Hamming distance (numba): exact, every hash is compared.

Hashes are kept in columns, one for each of their four words, so that the distances of a block are computed by vector
instructions; only a block that holds a near one is looked at again.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.intrinsics import popcount

# Hashes, 64 KiB, that all queries are compared with before the next ones.
_BLOCK = 2_048
_U = np.uint64


@njit(nogil=True, cache=True)
def nearest(
    queries: NDArray[np.uint64],
    words: NDArray[np.uint64],
    banks: NDArray[np.int32],
    rows: NDArray[np.int64],
    distances: NDArray[np.int64],
) -> None:
    """Finds the nearest hash of each bank, the first one among equals.

    Args:
        queries: uint64 [q, 4].
        words: uint64 [4, n], the hashes.
        banks: int32 [n], the bank of each.
        rows: int64 [q, b], receives the hash found; unchanged where none is nearer than `distances`.
        distances: int64 [q, b], holds the distance that a hash must stay below, and receives that of the hash found.
    """
    w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
    apart = np.empty(_BLOCK, np.uint64)
    count = words.shape[1]
    for first in range(0, count, _BLOCK):
        size = min(_BLOCK, count - first)
        for query in range(queries.shape[0]):
            q0, q1, q2, q3 = queries[query, 0], queries[query, 1], queries[query, 2], queries[query, 3]
            least = _U(256)
            for place in range(_U(size)):
                row = _U(first) + place
                bits = popcount(w0[row] ^ q0) + popcount(w1[row] ^ q1) + popcount(w2[row] ^ q2) + popcount(w3[row] ^ q3)
                apart[place] = bits
                least = min(least, bits)
            if np.int64(least) >= distances[query].max():
                continue
            for place in range(size):
                bank, bits = banks[first + place], np.int64(apart[place])
                if bits < distances[query, bank]:
                    distances[query, bank], rows[query, bank] = bits, first + place
