"""Everything known of the decided images by ordinal: what a new image is compared with.

Derived from the store: ids and heads are read into memory when a worker starts, grow as it decides, and are followed
by the API; vectors and the term index lie in files of their own, and are given what they miss.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.features import widened
from neardup_platform.scoring.vectors import ImageVectors, VectorTable
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


def stored_vectors(part: Sequence[tuple[bytes, bytes]]) -> ImageVectors:
    """Vectors from the store's bytes, `lsh` and `pair` of each image, at least one."""
    lsh, pair = (np.frombuffer(b"".join(kind), "<f2").reshape(len(part), -1) for kind in zip(*part, strict=True))
    return ImageVectors(lsh, pair)


class Corpus:
    """Ids, vectors, terms and heads by ordinal.

    Attributes:
        index: the term index.
        vectors: of all images.

    Args:
        space: hashes the `lsh` embedding.
        index: the term index; what it misses of the images is given to it by `fill_index`.
        vectors: of no image yet, or of those that `restore` will name.
    """

    def __init__(self, space: TermSpace, index: TermIndex, vectors: VectorTable) -> None:
        self.index = index
        self.vectors = vectors
        self._space = space
        self._ids: list[str] = []
        self._heads = np.full(_CHUNK, -1, np.int64)
        self._retired = np.zeros(_CHUNK, np.bool_)
        self._representatives = np.zeros(_CHUNK, np.int32)

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Sequence[str], vectors: ImageVectors, hashed: Hashed) -> Ordinals:
        """Add images, searchable at once and as yet without a head; returns their ordinals, int64 [n]."""
        self.vectors.append(vectors)
        self._append(ids, np.zeros(len(ids), np.bool_))
        return self.index.add(hashed)

    def extend(self, stored: Iterable[StoredImage]) -> None:
        """Add images read from the store, in order of ordinal; searchable once `fill_index` was called."""
        images = iter(stored)
        while part := list(islice(images, _CHUNK)):
            self.vectors.append(stored_vectors([(image.lsh, image.pair) for image in part]))
            self._append([image.image_id for image in part], np.array([image.retired for image in part], np.bool_))

    def restore(self, ids: Sequence[str], heads: Ordinals, retired: NDArray[np.bool_]) -> None:
        """Name the images, before any is added, whose vectors are there; searchable once `fill_index` was called.

        Args:
            ids: by ordinal.
            heads: int64 [n], ordinals of the heads of their clusters.
            retired: bool [n], images that the term index need not hold.
        """
        self._append(ids, retired)
        n = len(ids)
        self._heads[:n] = heads
        self._representatives[:n] = np.bincount(heads[~retired], minlength=n)

    def fill_index(self) -> int:
        """Give the index the images it misses; returns how many."""
        filled = 0
        for first, end in self.index.missing(len(self)):
            for at in range(first, end, _CHUNK):
                ordinals = np.arange(at, min(at + _CHUNK, end))
                hashed = self._space.hash(widened(self.vectors.rows.lsh, ordinals))
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

    def representatives_of(self, head: int) -> int:
        """Members of a head's cluster that the index holds."""
        return int(self._representatives[head])

    def retired(self, ordinals: Ordinals) -> NDArray[np.bool_]:
        """Which of these images the index need not hold, bool [n]."""
        return self._retired[ordinals]

    def close(self) -> None:
        """Stop the threads of the term index and release the files of the vectors."""
        self.index.close()
        self.vectors.close()

    def _append(self, ids: Sequence[str], retired: NDArray[np.bool_]) -> None:
        first, end = len(self._ids), len(self._ids) + len(ids)
        if end > len(self._heads):
            more = max(end, 2 * len(self._heads)) - len(self._heads)
            self._heads = np.concatenate([self._heads, np.full(more, -1, np.int64)])
            self._retired = np.concatenate([self._retired, np.zeros(more, np.bool_)])
            self._representatives = np.concatenate([self._representatives, np.zeros(more, np.int32)])
        self._ids.extend(ids)
        self._retired[first:end] = retired
