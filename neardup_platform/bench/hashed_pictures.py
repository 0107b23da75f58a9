"""Hashes of the pictures of a manifest, each picture decoded by the platform's decoder at its full size.

Files → pixels → **hashes, with their quality** → distances. Reading and decoding overlap with hashing, as with our own
embedders, so that the times are comparable.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.hamming_counts import Codes
from neardup_platform.bench.hash_peers import HashPeer
from neardup_platform.errors import BadPicture
from neardup_platform.evaluation.manifest import Row
from neardup_platform.images.decoding.pool import DecoderPool
from neardup_platform.settings import ImageSettings
from neardup_platform.terms.hyperplanes import WORD_BITS

UNREADABLE = -1


@dataclass(frozen=True, slots=True)
class Hashes:
    """Hashes of rows.

    Attributes:
        codes: uint64 [n, bits / 64].
        qualities: int64 [n], 0…100; UNREADABLE where there is no hash.
        seconds: time spent reading, decoding and hashing.
    """

    codes: Codes
    qualities: NDArray[np.int64]
    seconds: float


def hash_rows(rows: Sequence[Row], peer: HashPeer, limits: ImageSettings) -> Hashes:
    """Hash the rows. A broken picture has no hash and the rest continues.

    Args:
        rows: of manifests.
        peer: the hash.
        limits: of decoding.
    """
    started = perf_counter()
    codes = np.zeros((len(rows), peer.bits // WORD_BITS), np.uint64)
    qualities = np.full(len(rows), UNREADABLE, np.int64)

    def hash_row(number: int) -> None:
        try:
            pixels = decoders.decode(rows[number].file.read_bytes(), None)
        except (BadPicture, OSError):
            return
        bits, qualities[number] = peer.hash(pixels)
        codes[number] = np.packbits(bits).view(np.uint64)

    with DecoderPool(limits) as decoders, ThreadPoolExecutor(decoders.processes) as pool:
        # Consumed, so that an error is raised here.
        list(pool.map(hash_row, range(len(rows))))
    return Hashes(codes, qualities, perf_counter() - started)
