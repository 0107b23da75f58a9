"""Perceptual hashes as peers in `neardup bench accuracy`, each at a published operating point.

| peer | bits | distance of a match | hashes left out |
|---|---|---|---|
| PDQ | 256 | at most 31 | quality below 50 |
| pHash | 64 | at most 10 | none |

PDQ: the README of the reference implementation (facebook/ThreatExchange, `pdq/`) recommends to start with a distance of
31 or less and to discard hashes of quality 49 or less. pHash: ImageHash documents no threshold; 10 is the default
`max_distance_threshold` of imagededup for hashes of 64 bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.errors import SetupError
from neardup_platform.images.rgb import Pixels

Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HashPeer:
    """A perceptual hash.

    Attributes:
        bits: length of a hash, a multiple of 64.
        max_distance: Hamming distance up to which two pictures match.
        qualities: least qualities with which to measure it; 0 takes every hash.
        hash: from a picture to bool [bits] and the quality of the hash, 0…100.
    """

    bits: int
    max_distance: int
    qualities: tuple[int, ...]
    hash: Callable[[Pixels], tuple[Bits, int]]


def pdq() -> HashPeer:
    """The hash of Meta; measured with every hash, too, because nearly blank pictures have a low quality.

    Raises:
        SetupError: pdqhash is not installed.
    """
    package = _installed("pdqhash")

    def compute(picture: Pixels) -> tuple[Bits, int]:
        bits, quality = package.compute(picture)
        return bits.astype(np.bool_), quality

    return HashPeer(256, 31, (50, 0), compute)


def phash() -> HashPeer:
    """The DCT hash of ImageHash.

    Raises:
        SetupError: ImageHash is not installed.
    """
    package = _installed("imagehash")
    return HashPeer(64, 10, (0,), lambda picture: (package.phash(Image.fromarray(picture)).hash.ravel(), 100))


PEERS: dict[str, Callable[[], HashPeer]] = {"PDQ": pdq, "pHash": phash}


def _installed(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise SetupError(f"{package} is not installed: pip install 'neardup-platform[bench]'") from error
