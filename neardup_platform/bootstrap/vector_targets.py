"""Files of rows that the vectors of a load are written to, and read from again: mapped, in the order of the images."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bootstrap.row_checks import Models
from neardup_platform.errors import SetupError
from neardup_platform.records import Kind
from neardup_platform.scoring.json_vector_manifest import read_manifest
from neardup_platform.scoring.mmap_vectors import map_files, write_rows
from neardup_platform.scoring.vectors import Float16, ImageVectors


@dataclass(frozen=True, slots=True)
class VectorTarget:
    """Rows of two files, one for each kind.

    Attributes:
        files: by kind.
        first: the row of the first image.
        count: number of images.
        rows: of the images, mapped.
    """

    files: Mapping[Kind, FileIO]
    first: int
    count: int
    rows: ImageVectors

    @classmethod
    def open(cls, paths: Mapping[Kind, Path], models: Models, first: int, count: int) -> "VectorTarget":
        """Open files, which are created if they are missing, with room on the disk for all rows.

        Raises:
            OSError: the disk is full or broken.
        """
        files = {kind: FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+") for kind, path in paths.items()}
        if count:
            for kind, file in files.items():
                size = 2 * models[kind].dim
                os.posix_fallocate(file.fileno(), first * size, count * size)
        mapped = map_files([files[Kind.LSH], files[Kind.PAIR]], (models[Kind.LSH].dim, models[Kind.PAIR].dim))
        return cls(files, first, count, ImageVectors(*(kind[first : first + count] for kind in mapped)))

    @classmethod
    def of_worker(cls, folder: Path, models: Models, first: int, count: int) -> "VectorTarget":
        """Open the worker's vector files at reserved ordinals.

        Raises:
            BadArtefact: they are damaged.
            SetupError: there are none, or they have other dimensions.
            OSError: the disk is full or broken.
        """
        manifest = read_manifest(folder)
        dims = models[Kind.LSH].dim, models[Kind.PAIR].dim
        if manifest is None or manifest.dims != dims:
            raise SetupError(f"{folder} has no vector files of {dims[0]} and {dims[1]} dimensions: start the worker")
        return cls.open(dict(zip((Kind.LSH, Kind.PAIR), manifest.paths(folder), strict=True)), models, first, count)

    @classmethod
    def of_rest(cls, folder: Path, models: Models, count: int) -> "VectorTarget":
        """Open the files of the rest in the folder of a load.

        Raises:
            OSError: the disk is full or broken.
        """
        return cls.open({kind: folder / f"rest-{kind}.f16" for kind in Kind}, models, 0, count)

    def write(self, kind: Kind, images: NDArray[np.int64], vectors: Float16) -> None:
        """Write the vectors of images, by their position.

        Raises:
            OSError: the disk is full or broken.
        """
        write_rows(self.files[kind], self.first + images, vectors)

    def sync(self) -> None:
        """Wait until what was written survives a power cut."""
        for file in self.files.values():
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files; rows that were returned stay readable."""
        for file in self.files.values():
            file.close()
