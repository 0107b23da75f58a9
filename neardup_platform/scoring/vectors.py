"""Both vectors of all images, which the pair classifier compares.

Embeddings of decided images → **table, by ordinal** → features. A table grows at its end; a row changes only when its
image is forgotten or gets another ordinal. `MemoryVectors` is for evaluation and tests; the tables on disk are in
`mmap_vectors.py`.
"""

import mmap
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.id_space import check_ordinals

Float16 = NDArray[np.float16]
# Address space, not memory: room for 4.2 million images before a table in memory has to be copied.
FIRST_CAPACITY = 1 << 22


class ImageVectors(NamedTuple):
    """Vectors of n images; row i of both belongs to image i.

    Attributes:
        lsh: float16 [n, lsh_dim].
        pair: float16 [n, pair_dim].
    """

    lsh: Float16
    pair: Float16


class VectorTable(Protocol):
    """The vectors of every decided image, by ordinal."""

    def __len__(self) -> int:
        """Returns the number of images."""

    @property
    def rows(self) -> ImageVectors:
        """All rows, not copied; later appends do not change them."""

    def append(self, vectors: ImageVectors) -> None:
        """Adds images."""

    def skip(self, count: int) -> None:
        """Sets the next ordinals aside; whatever their rows hold, they belong to no image yet."""

    def fill(self, first: int, vectors: ImageVectors) -> None:
        """Gives rows to ordinals that were set aside, from `first` on."""

    def erase(self, ordinals: NDArray[np.int64]) -> None:
        """Overwrites rows with zeros, also for everyone who holds `rows`; the table holds all of these ordinals."""

    def close(self) -> None:
        """Releases the table's resources; rows that were returned stay readable."""


class MemoryVectors:
    """A table in memory; its address space is reserved at once and used page by page, so that growing rarely copies.

    Args:
        lsh_dim, pair_dim: columns.
        capacity: images it holds before it is copied into a table of twice the size.
    """

    def __init__(self, lsh_dim: int, pair_dim: int, capacity: int = FIRST_CAPACITY) -> None:
        self._reserved = ImageVectors(_reserve(capacity, lsh_dim), _reserve(capacity, pair_dim))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> ImageVectors:
        """See `VectorTable`."""
        return ImageVectors(*(kind[: self._count] for kind in self._reserved))

    def append(self, vectors: ImageVectors) -> None:
        """Adds images.

        Raises:
            SetupError: there are no ordinals left.
        """
        check_dims(vectors, (self._reserved.lsh.shape[1], self._reserved.pair.shape[1]))
        end = self._count + len(vectors.lsh)
        check_ordinals(end)
        if end > len(self._reserved.lsh):
            self._grow(end)
        for kind, new in zip(self._reserved, vectors, strict=True):
            kind[self._count : end] = new
        self._count = end

    def skip(self, count: int) -> None:
        """See `VectorTable`.

        Raises:
            SetupError: there are no ordinals left.
        """
        end = self._count + count
        check_ordinals(end)
        if end > len(self._reserved.lsh):
            self._grow(end)
        self._count = end

    def fill(self, first: int, vectors: ImageVectors) -> None:
        """See `VectorTable`."""
        for kind, new in zip(self._reserved, vectors, strict=True):
            kind[first : first + len(new)] = new

    def _grow(self, rows: int) -> None:
        """Copies the rows; `rows` returned earlier stay those of the smaller table."""
        capacity = max(rows, 2 * len(self._reserved.lsh))
        larger = ImageVectors(*(_reserve(capacity, kind.shape[1]) for kind in self._reserved))
        for new, old in zip(larger, self.rows, strict=True):
            new[: self._count] = old
        self._reserved = larger

    def erase(self, ordinals: NDArray[np.int64]) -> None:
        """See `VectorTable`."""
        for kind in self._reserved:
            kind[ordinals] = 0

    def close(self) -> None:
        """Does nothing: memory is freed with the last array that refers to it."""


def check_dims(vectors: ImageVectors, dims: tuple[int, int]) -> None:
    """Checks that vectors fit a table.

    Raises:
        SetupError: they have other dimensions.
    """
    found = vectors.lsh.shape[1], vectors.pair.shape[1]
    if found != dims:
        raise SetupError(
            f"vectors of {found[0]} and {found[1]} dimensions (lsh, pair) where {dims[0]} and {dims[1]} are compared: "
            "use the models that this NEARDUP_HOME was filled with, or another NEARDUP_HOME"
        )


def _reserve(rows: int, dim: int) -> Float16:
    # MAP_NORESERVE is Linux's; elsewhere untouched anonymous pages cost nothing anyway.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return np.frombuffer(mmap.mmap(-1, max(1, rows * dim * 2), flags=flags), np.float16, rows * dim).reshape(rows, dim)
