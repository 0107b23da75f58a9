"""Both vectors of all images, which the pair classifier compares.

Embeddings of decided images → **table, by ordinal** → features. A table grows at its end; a row changes only when its
image is forgotten or gets another ordinal. `MemoryVectors` is for evaluation and tests; the tables on disk, whose pair
vectors are read from the store, are in `mmap_vectors.py`.
"""

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import SetupError
from neardup_platform.id_space import check_ordinals
from neardup_platform.scoring.compact import Compact, Layout, pack

Float16 = NDArray[np.float16]
Ordinals = NDArray[np.int64]
# Address space, not memory: room for 4.2 million images before a table in memory has to be copied.
FIRST_CAPACITY = 1 << 22


class VectorRows(Protocol):
    """Vectors of n images, row i of image i."""

    @property
    def lsh(self) -> Float16:
        """float16 [n, lsh_dim]."""

    @property
    def compact(self) -> Compact | None:
        """uint8 [n, width], both vectors as compact rows, where a table holds them."""

    @property
    def pair_dim(self) -> int:
        """Entries of a pair vector."""

    def at(self, rows: Ordinals) -> "ImageVectors":
        """Returns everything about some images, by row, one row each; a dead ordinal has zeros."""

    def read(self, rows: Ordinals) -> tuple["ImageVectors", Ordinals]:
        """Returns vectors in memory with some images, and the rows of these there; reads each image once."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageVectors:
    """Vectors of n images in memory; row i of both belongs to image i. Iterates over the two.

    Attributes:
        lsh: float16 [n, lsh_dim].
        pair: float16 [n, pair_dim].
        compact: uint8 [n, width], both as compact rows, where a table holds them.
    """

    lsh: Float16
    pair: Float16
    compact: Compact | None = field(default=None, kw_only=True)

    def __iter__(self) -> Iterator[Float16]:
        yield self.lsh
        yield self.pair

    @property
    def all(self) -> tuple[NDArray[Any], ...]:
        """Returns both, and the compact rows if there are any."""
        return (self.lsh, self.pair) if self.compact is None else (self.lsh, self.pair, self.compact)

    @property
    def pair_dim(self) -> int:
        """See `VectorRows`."""
        return int(self.pair.shape[1])

    def at(self, rows: Ordinals) -> "ImageVectors":
        """See `VectorRows`."""
        return ImageVectors(
            *(kind[rows] for kind in self), compact=None if self.compact is None else self.compact[rows]
        )

    def read(self, rows: Ordinals) -> tuple["ImageVectors", Ordinals]:
        """See `VectorRows`; copies nothing."""
        return self, rows


@dataclass(frozen=True, slots=True, eq=False)
class MappedRows:
    """Rows of files that are mapped; pair vectors are read when they are asked for. See `VectorRows`.

    Attributes:
        read_pair: returns pair vectors by row, float16 [n, pair_dim].
    """

    lsh: Float16
    compact: Compact
    pair_dim: int
    read_pair: Callable[[Ordinals], Float16]

    def at(self, rows: Ordinals) -> ImageVectors:
        """See `VectorRows`."""
        return ImageVectors(self.lsh[rows], self.read_pair(rows), compact=self.compact[rows])

    def read(self, rows: Ordinals) -> tuple[ImageVectors, Ordinals]:
        """See `VectorRows`."""
        distinct, which = np.unique(rows, return_inverse=True)
        return self.at(distinct), which


class VectorTable(Protocol):
    """The vectors of every decided image, by ordinal."""

    def __len__(self) -> int:
        """Returns the number of images."""

    @property
    def rows(self) -> VectorRows:
        """All rows, not copied; later appends do not change them."""

    def append(self, vectors: ImageVectors) -> None:
        """Adds images."""

    def skip(self, count: int) -> None:
        """Sets the next ordinals aside; whatever their rows hold, they belong to no image yet."""

    def fill(self, first: int, vectors: ImageVectors) -> None:
        """Gives rows to ordinals that were set aside, from `first` on."""

    def warm_part(self, first: int, end: int, stopped: Callable[[], bool]) -> None:
        """Brings the rows that every query reads into memory, of ordinals from `first` to before `end`.

        Args:
            stopped: asked now and then whether to end early.
        """

    def erase(self, ordinals: Ordinals) -> None:
        """Overwrites rows with zeros, also for everyone who holds `rows`; the table holds all of these ordinals."""

    def close(self) -> None:
        """Releases the table's resources; rows that were returned stay readable."""


class MemoryVectors:
    """A table in memory; its address space is reserved at once and used page by page, so that growing rarely copies.

    Args:
        lsh_dim, pair_dim: columns.
        capacity: images it holds before it is copied into a table of twice the size.
        compared: how many of the first entries of the pair vector compact rows hold; None for all.
    """

    def __init__(
        self, lsh_dim: int, pair_dim: int, capacity: int = FIRST_CAPACITY, compared: int | None = None
    ) -> None:
        self._layout = Layout(lsh_dim, pair_dim if compared is None else compared)
        self._reserved = self._room(capacity, pair_dim)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> ImageVectors:
        """See `VectorTable`."""
        return _first_rows(self._reserved, self._count)

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
        self.fill(self._count, vectors)
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
        part = slice(first, first + len(vectors.lsh))
        self._write(part, vectors)

    def _write(self, rows: slice, vectors: ImageVectors) -> None:
        packed = pack(vectors.lsh, vectors.pair, self._layout)
        for kind, new in zip(self._reserved.all, (*vectors, packed), strict=True):
            kind[rows] = new

    def _room(self, rows: int, pair_dim: int) -> ImageVectors:
        lsh_dim = self._layout.lsh
        compact = _reserve(rows, self._layout.width, np.dtype(np.uint8))
        half = np.dtype(np.float16)
        return ImageVectors(_reserve(rows, lsh_dim, half), _reserve(rows, pair_dim, half), compact=compact)

    def _grow(self, rows: int) -> None:
        """Copies the rows; `rows` returned earlier stay those of the smaller table."""
        old, self._reserved = (
            self.rows,
            self._room(max(rows, 2 * len(self._reserved.lsh)), self._reserved.pair.shape[1]),
        )
        self._write(slice(0, self._count), old)

    def warm_part(self, first: int, end: int, stopped: Callable[[], bool]) -> None:
        """Does nothing: they are in memory."""

    def erase(self, ordinals: Ordinals) -> None:
        """See `VectorTable`."""
        for kind in self._reserved.all:
            kind[ordinals] = 0

    def close(self) -> None:
        """Does nothing: memory is freed with the last array that refers to it."""


def _first_rows(vectors: ImageVectors, count: int) -> ImageVectors:
    compact = None if vectors.compact is None else vectors.compact[:count]
    return ImageVectors(vectors.lsh[:count], vectors.pair[:count], compact=compact)


def holds(table: VectorRows, ordinal: int, vectors: ImageVectors) -> bool:
    """Returns whether a row of a table, as far as the table has it itself, is that of one image's vectors."""
    if table.lsh[ordinal].tobytes() != vectors.lsh.tobytes():
        return False
    if table.compact is None:
        return True
    layout = Layout.of_width(table.lsh.shape[1], table.compact.shape[1])
    return np.array_equal(table.compact[ordinal], pack(vectors.lsh, vectors.pair, layout)[0])


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


def _reserve(rows: int, dim: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    # MAP_NORESERVE is Linux's; elsewhere untouched anonymous pages cost nothing anyway.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    content = mmap.mmap(-1, max(1, rows * dim * dtype.itemsize), flags=flags)
    return np.frombuffer(content, dtype, rows * dim).reshape(rows, dim)
