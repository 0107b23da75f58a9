"""What the first score reads of an image, in 8 bits an entry.

float16 vectors → **compact row** → features. A row has the `lsh` vector and the entries of the pair vector that are
compared, each as

    float16 [groups], the magnitude m of every group of 32 entries
    int8 [entries], q of every entry x: x ≈ m·q·|q|/127²

where q = ±127·√(|x|/max|x|), rounded, and m is about max|x|, chosen so that the group keeps its length: the likeness of
an image to itself stays 1.

The square root is a compander, as in telephony (ITU-T G.711): it gives small entries, of which spectra have many, finer
steps than large ones, and the likeness of near-duplicates, where differences are small, stays as it was. On 2,919
evaluation pictures it changes no decision; equal steps change five pairs (docs/adr/0056).

A row depends on its image alone, so a score is the same wherever it is computed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.compact_kernels import F32, GROUP, Bits, groups_of, pack_part, part_bytes, unpack_rows

Compact = NDArray[np.uint8]


class Layout(NamedTuple):
    """What a row holds: `lsh` entries of one vector, and the first `pair` entries of the other."""

    lsh: int
    pair: int

    @property
    def width(self) -> int:
        """Bytes of a row; no other layout with the same `lsh` has as many."""
        return int(part_bytes(self.lsh) + part_bytes(self.pair))

    @classmethod
    def of_width(cls, lsh: int, width: int) -> "Layout":
        """Returns the layout of rows of so many bytes."""
        pair = width - part_bytes(lsh)
        return cls(lsh, pair - 2 * -(-pair // (GROUP + 2)))


def pack(lsh: NDArray[np.float16], pair: NDArray[np.float16], layout: Layout) -> Compact:
    """Returns the compact rows of images, uint8 [n, layout.width]; zeros where the vectors are zeros.

    Args:
        lsh: float16 [n, layout.lsh], finite.
        pair: float16 [n, at least layout.pair], finite.
    """
    out, start = np.empty((len(lsh), layout.width), np.uint8), 0
    for vectors, entries in zip((lsh, pair), layout, strict=True):
        body, end = start + 2 * groups_of(entries), start + part_bytes(entries)
        magnitudes = np.empty((len(vectors), groups_of(entries)), np.float32)
        pack_part(_bits(vectors), out[:, body:end], magnitudes)
        out[:, start:body] = magnitudes.astype("<f2").view(np.uint8)
        start = end
    return out


def unpack(rows: Compact, layout: Layout) -> tuple[F32, F32]:
    """Returns what compact rows stand for: float32 [n, layout.lsh] and [n, layout.pair]."""
    found = tuple(np.empty((len(rows), entries), np.float32) for entries in layout)
    for out, start in zip(found, (0, part_bytes(layout.lsh)), strict=True):
        unpack_rows(np.ascontiguousarray(rows), start, out)
    return found[0], found[1]


def _bits(rows: NDArray[np.float16]) -> Bits:
    bits = np.ascontiguousarray(rows).view(np.uint16)
    bits.flags.writeable = False
    return bits
