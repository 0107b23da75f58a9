"""Everything known of the decided images, in memory and by ordinal: what a new image is compared with.

Derived from the store: rebuilt when a worker starts, grown as it decides, and followed by the API.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.vector_table import VectorTable
from neardup_platform.terms.hyperplanes import Terms
from neardup_platform.terms.index import DELTA_IMAGES, TermIndex

Ordinals = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image as the store holds it: float16 vectors and uint16 terms, little-endian bytes."""

    image_id: str
    lsh: bytes
    pair: bytes
    terms: bytes


class Corpus:
    """Ids, vectors, terms and heads by ordinal.

    Attributes:
        index: the term index.
        lsh: the `lsh` vectors, float16.
        pair: the `pair` vectors, float16.

    Args:
        lsh_dim: dimension of the `lsh` embedding.
        pair_dim: dimension of the `pair` embedding.
        tables: terms per image.
        bits: bits per term.
    """

    def __init__(self, lsh_dim: int, pair_dim: int, tables: int, bits: int) -> None:
        self.index = TermIndex(tables, bits)
        self.lsh = VectorTable(lsh_dim)
        self.pair = VectorTable(pair_dim)
        self._tables = tables
        self._ids: list[str] = []
        self._heads = np.full(DELTA_IMAGES, -1, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Sequence[str], lsh: NDArray[np.float16], pair: NDArray[np.float16], terms: Terms) -> Ordinals:
        """Add images, searchable at once and as yet without a head; returns their ordinals, int64 [n]."""
        self._ids.extend(ids)
        self.lsh.append(lsh)
        self.pair.append(pair)
        if len(self._ids) > len(self._heads):
            self._heads = np.concatenate([self._heads, np.full(len(self._ids), -1, np.int64)])
        return self.index.add(terms)

    def extend(self, stored: Iterable[StoredImage], chunk: int = 65_536) -> None:
        """Add images read from the store, in order of ordinal."""
        images = iter(stored)
        while part := list(islice(images, chunk)):
            n = len(part)
            self.add(
                [image.image_id for image in part],
                np.frombuffer(b"".join(image.lsh for image in part), "<f2").reshape(n, -1),
                np.frombuffer(b"".join(image.pair for image in part), "<f2").reshape(n, -1),
                np.frombuffer(b"".join(image.terms for image in part), "<u2").reshape(n, self._tables),
            )

    def id_of(self, ordinal: int) -> str:
        """The image id of an ordinal."""
        return self._ids[ordinal]

    def ids(self) -> Sequence[str]:
        """All image ids, by ordinal."""
        return self._ids

    def head_of(self, ordinal: int) -> int:
        """Ordinal of the head of an image's cluster; −1 while it is being decided."""
        return int(self._heads[ordinal])

    def set_head(self, ordinal: int, head: int) -> None:
        """Put an image into a head's cluster."""
        self._heads[ordinal] = head

    def set_heads(self, heads: Ordinals) -> None:
        """Set the heads of all images at once, int64 [len(self)]."""
        self._heads[: len(self)] = heads
