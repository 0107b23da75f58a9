"""Everything known of the decided images by ordinal: what a new image is compared with.

Derived from the store: vectors and heads are read into memory when a worker starts, grow as it decides, and are
followed by the API; the term index lies in files of its own, and is given what it misses.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.vector_table import VectorTable
from neardup_platform.terms.hyperplanes import Hashed, TermSpace
from neardup_platform.terms.index import TermIndex

Ordinals = NDArray[np.int64]

_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image as the store holds it: float16 vectors, little-endian; `retired` from the term index or not."""

    image_id: str
    lsh: bytes
    pair: bytes
    retired: bool


class Corpus:
    """Ids, vectors, terms and heads by ordinal.

    Attributes:
        index: the term index.
        lsh: the `lsh` vectors, float16.
        pair: the `pair` vectors, float16.

    Args:
        space: hashes the `lsh` embedding.
        pair_dim: dimension of the `pair` embedding.
        index: the term index; what it misses of the images is given to it by `fill_index`.
    """

    def __init__(self, space: TermSpace, pair_dim: int, index: TermIndex) -> None:
        self.index = index
        self.lsh = VectorTable(space.dim)
        self.pair = VectorTable(pair_dim)
        self._space = space
        self._ids: list[str] = []
        self._heads = np.full(_CHUNK, -1, np.int64)
        self._retired = np.zeros(_CHUNK, np.bool_)
        self._representatives = np.zeros(_CHUNK, np.int32)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Sequence[str], lsh: NDArray[np.float16], pair: NDArray[np.float16], hashed: Hashed) -> Ordinals:
        """Add images, searchable at once and as yet without a head; returns their ordinals, int64 [n]."""
        self._append(ids, lsh, pair, np.zeros(len(ids), np.bool_))
        return self.index.add(hashed)

    def extend(self, stored: Iterable[StoredImage]) -> None:
        """Add images read from the store, in order of ordinal; searchable once `fill_index` was called."""
        images = iter(stored)
        while part := list(islice(images, _CHUNK)):
            n = len(part)
            self._append(
                [image.image_id for image in part],
                np.frombuffer(b"".join(image.lsh for image in part), "<f2").reshape(n, -1),
                np.frombuffer(b"".join(image.pair for image in part), "<f2").reshape(n, -1),
                np.array([image.retired for image in part], np.bool_),
            )

    def fill_index(self) -> int:
        """Give the index the images it misses; returns how many."""
        filled = 0
        for first, end in self.index.missing(len(self)):
            for at in range(first, end, _CHUNK):
                ordinals = np.arange(at, min(at + _CHUNK, end))
                hashed = self._space.hash(self.lsh.gather(ordinals))
                self.index.restore(at, at + len(ordinals), ordinals, hashed, self._retired[ordinals])
                filled += len(ordinals)
        return filled

    def id_of(self, ordinal: int) -> str:
        """The image id of an ordinal."""
        return self._ids[ordinal]

    def ids(self) -> Sequence[str]:
        """All image ids, by ordinal."""
        return self._ids

    def head_of(self, ordinal: int) -> int:
        """Ordinal of the head of an image's cluster; −1 while it is being decided."""
        return int(self._heads[ordinal])

    def heads_of(self, ordinals: Ordinals) -> Ordinals:
        """As `head_of`, for many images: int64 [n]."""
        return self._heads[ordinals]

    def set_head(self, ordinal: int, head: int, *, represents: bool) -> None:
        """Put an image into a head's cluster, as one of its representatives or not."""
        self._heads[ordinal] = head
        self._representatives[head] += represents
        self._retired[ordinal] = not represents

    def set_heads(self, heads: Ordinals) -> None:
        """Set the heads of all images at once, int64 [len(self)]."""
        n = len(self)
        self._heads[:n] = heads
        self._representatives[:n] = np.bincount(heads[~self._retired[:n]], minlength=n)

    def representatives_of(self, head: int) -> int:
        """Members of a head's cluster that the index holds."""
        return int(self._representatives[head])

    def retired(self, ordinals: Ordinals) -> NDArray[np.bool_]:
        """Which of these images the index need not hold, bool [n]."""
        return self._retired[ordinals]

    def _append(
        self, ids: Sequence[str], lsh: NDArray[np.float16], pair: NDArray[np.float16], retired: NDArray[np.bool_]
    ) -> None:
        first, end = len(self._ids), len(self._ids) + len(ids)
        if end > len(self._heads):
            more = max(end, 2 * len(self._heads)) - len(self._heads)
            self._heads = np.concatenate([self._heads, np.full(more, -1, np.int64)])
            self._retired = np.concatenate([self._retired, np.zeros(more, np.bool_)])
            self._representatives = np.concatenate([self._representatives, np.zeros(more, np.int32)])
        self._ids.extend(ids)
        self.lsh.append(lsh)
        self.pair.append(pair)
        self._retired[first:end] = retired
