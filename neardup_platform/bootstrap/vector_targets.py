"""Files of rows that the vectors of a load are written to, and read from again: mapped, in the order of the images.

Of the images that the worker takes in at once, the `lsh` vectors and compact rows are written in its own files, at
reserved ordinals. Their pair vectors pass through a file in the folder of the load: a file of the table VECTORS is
written from it, and what that file holds is given back to the disk. Where the data set is in the order of the images,
this happens before most of them are on the disk at all.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bootstrap.row_checks import Models
from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.files import write_at
from neardup_platform.punched_files import punch_hole
from neardup_platform.records import Kind
from neardup_platform.scoring.compact import Layout, pack
from neardup_platform.scoring.json_vector_manifest import read_manifest
from neardup_platform.scoring.mmap_vectors import as_bytes, map_float16, write_bytes
from neardup_platform.scoring.vectors import Float16, ImageVectors

# Rows that are packed at once, 8 MB: they stay in the processor's cache.
_PACKED_ROWS = 2_048
PAIRS = "bulk-pair.f16"


@dataclass(frozen=True, slots=True)
class VectorTarget:
    """Rows of two files, one for each kind, and of the compact rows of the worker.

    Attributes:
        files: by kind.
        firsts: the row of the first image in each.
        count: number of images.
        rows: of the images, mapped.
        compact: of the worker; None for other files.
        layout: of its rows.
    """

    files: Mapping[Kind, FileIO]
    firsts: Mapping[Kind, int]
    count: int
    rows: ImageVectors
    compact: FileIO | None = None
    layout: Layout | None = None

    @classmethod
    def open(
        cls,
        paths: Mapping[Kind, Path],
        models: Models,
        firsts: Mapping[Kind, int],
        count: int,
        reserved: Collection[Kind] = tuple(Kind),
    ) -> "VectorTarget":
        """Open files, which are created if they are missing.

        Args:
            reserved: the kinds for which there is room on the disk for all rows; others are large enough already.

        Raises:
            OSError: the disk is full or broken.
        """
        files = {
            kind: _with_room(path, 2 * models[kind].dim, firsts[kind], count if kind in reserved else 0)
            for kind, path in paths.items()
        }
        mapped = (map_float16(files[kind], models[kind].dim)[firsts[kind] :][:count] for kind in (Kind.LSH, Kind.PAIR))
        return cls(files, firsts, count, ImageVectors(*mapped))

    @classmethod
    def of_worker(cls, folder: Path, load: Path, models: Models, first: int, count: int) -> "VectorTarget":
        """Open the worker's vector files at reserved ordinals, and the pair vectors in the folder of the load.

        Raises:
            BadArtefact: they are damaged.
            SetupError: there are none, or they have other dimensions.
            OSError: the disk is full or broken.
        """
        manifest = read_manifest(folder)
        dims = models[Kind.LSH].dim, models[Kind.PAIR].dim
        if manifest is None or manifest.dims != dims:
            raise SetupError(f"{folder} has no vector files of {dims[0]} and {dims[1]} dimensions: start the worker")
        lsh, path = manifest.paths(folder)
        paths, firsts = {Kind.LSH: lsh, Kind.PAIR: load / PAIRS}, {Kind.LSH: first, Kind.PAIR: 0}
        _set_size(paths[Kind.PAIR], 2 * dims[1] * count)
        opened = cls.open(paths, models, firsts, count, reserved=(Kind.LSH,))
        compact = _with_room(path, manifest.layout.width, first, count)
        return replace(opened, compact=compact, layout=manifest.layout)

    @classmethod
    def of_rest(cls, folder: Path, models: Models, count: int) -> "VectorTarget":
        """Open the files of the rest in the folder of a load.

        Raises:
            OSError: the disk is full or broken.
        """
        return cls.open({kind: folder / f"rest-{kind}.f16" for kind in Kind}, models, dict.fromkeys(Kind, 0), count)

    def write(self, kind: Kind, images: NDArray[np.int64], vectors: Float16) -> None:
        """Write the vectors of images, by their position.

        Raises:
            OSError: the disk is full or broken.
        """
        write_bytes(self.files[kind], self.firsts[kind] + images, as_bytes(vectors))

    def write_compact(self, first: int, end: int) -> None:
        """Write the compact rows of the worker's images first…end − 1, whose vectors are written; synced afterwards.

        Raises:
            OSError: the disk is full or broken.
        """
        if self.compact is None or self.layout is None:
            raise ValueError("only the files of the worker have compact rows")
        for at in range(first, end, _PACKED_ROWS):
            part = slice(at, min(at + _PACKED_ROWS, end))
            rows = pack(self.rows.lsh[part], self.rows.pair[part], self.layout)
            write_bytes(self.compact, self.firsts[Kind.LSH] + np.arange(part.start, part.stop), rows)
        os.fsync(self.compact.fileno())

    def release_pairs(self, first: int, end: int) -> None:
        """Give the disk back what the pair vectors of images first…end − 1 take: they are in the table by now.

        Raises:
            OSError: the disk is broken.
        """
        row_bytes = self.rows.pair.shape[1] * self.rows.pair.itemsize
        punch_hole(self.files[Kind.PAIR].fileno(), first * row_bytes, (end - first) * row_bytes)

    def sync(self) -> None:
        """Wait until what was written by kind survives a power cut."""
        for file in self.files.values():
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files; rows that were returned stay readable."""
        for file in (*self.files.values(), *([] if self.compact is None else [self.compact])):
            file.close()


def write_pairs(load: Path, pairs: Iterable[tuple[int, bytes]]) -> None:
    """Write pair vectors of images into the folder of a load again, durably.

    Args:
        pairs: of some images, the position among those that the worker takes in at once, and the vector, float16,
            little-endian.

    Raises:
        OSError: the disk is full or broken.
    """
    with FileIO(os.open(load / PAIRS, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
        for row, pair in pairs:
            write_at(file, pair, row * len(pair))
        os.fsync(file.fileno())


def read_pairs(load: Path, count: int, dim: int) -> Float16:
    """Map the file of pair vectors, float16 [count, dim]: zeros for images whose vectors are in the table alone.

    Raises:
        BadArtefact: the folder of the load has no such file.
    """
    if not count:
        return np.zeros((0, dim), np.float16)
    path = load / PAIRS
    try:
        with path.open("rb", 0) as file:
            found = map_float16(file, dim)
    except OSError as error:
        raise BadArtefact(f"{path} cannot be read ({error}): send the load again, which skips what is known") from error
    if len(found) < count:
        raise BadArtefact(f"{path} has {len(found)} rows, {count} expected: send the load again")
    return found[:count]


def _set_size(path: Path, size: int) -> None:
    """Create a file, or make it longer, without taking room on the disk."""
    with FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
        if os.fstat(file.fileno()).st_size < size:
            file.truncate(size)


def _with_room(path: Path, row_bytes: int, first: int, count: int) -> FileIO:
    """Open a file, which is created if it is missing, with room on the disk for some rows."""
    file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
    if count:
        os.posix_fallocate(file.fileno(), first * row_bytes, count * row_bytes)
    return file
