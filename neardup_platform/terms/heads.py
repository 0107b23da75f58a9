"""Heads: the 256 bits of an image by which an index that ranks by cosine chooses its shortlist.

Centred embedding → **signs along 256 orthogonal directions** → scan. Directions that are orthogonal to each other tell
more about the angle between two images than independent ones do (Super-Bit LSH, Ji et al., NIPS 2012): a shortlist of
300 holds as many true neighbours of a million as one of 1,000 by the hyperplanes of the terms (docs/adr/0057).

The directions are rows of (H·D)³, where H is a Hadamard matrix and each D holds random signs (FALCONN, Andoni et al.,
NIPS 2015). Their entries are whole numbers, so they are the same on every machine, and no file has to hold them.
"""

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.parts import HEAD_WORDS, U64
from neardup_platform.terms.projection import project

HEAD_BITS = 64 * HEAD_WORDS
# In the version of an index, so that one of other directions is made again.
VERSION = "cosine1"
_ROUNDS = 3


def heads_of(unit: NDArray[np.float32]) -> U64:
    """Returns the heads of images, uint64 [n, HEAD_WORDS]; equal to the last bit in any batch.

    Args:
        unit: float32 [n, dim], centred.
    """
    along = np.empty((len(unit), HEAD_BITS), np.float32)
    project(np.ascontiguousarray(unit, np.float32), directions(unit.shape[1]), along)
    return np.packbits(along > 0, axis=1, bitorder="little").view("<u8")


@lru_cache
def directions(dim: int) -> NDArray[np.float32]:
    """Returns the directions, float32 [dim, HEAD_BITS], whole numbers; orthogonal if `dim` is a power of two ≥ 256."""
    size = max(HEAD_BITS, 1 << (dim - 1).bit_length())
    bits = np.frombuffer(hashlib.shake_256(b"neardup heads").digest(_ROUNDS * size // 8), np.uint8)
    signs = 1.0 - 2.0 * np.unpackbits(bits).reshape(_ROUNDS, size)
    turned, hadamard = np.eye(size), _hadamard(size)
    for each in signs:
        turned = hadamard @ (each[:, None] * turned)
    return np.ascontiguousarray(turned[:HEAD_BITS, :dim].T, np.float32)


def _hadamard(size: int) -> NDArray[np.float64]:
    """Returns Sylvester's matrix of a power of two: entry (i, j) is 1 if i & j has an even number of bits, else −1."""
    numbers = np.arange(size)
    return np.where(np.bitwise_count(numbers[:, None] & numbers) % 2, -1.0, 1.0)
