"""A data set: the Parquet files of one corpus on S3, under one prefix. Pure.

A data set has a name and a version. The version follows from the files, so a file that is replaced makes another
version, and two runs that mean the same version read the same bytes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

_VERSION_DIGITS = 16


@dataclass(frozen=True, slots=True)
class DataFile:
    """An object on S3.

    Attributes:
        key: in the bucket.
        size: in bytes.
        etag: as S3 gives it, without quotes; another content has another one.
    """

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class DataSet:
    """The files of one version of a data set.

    Attributes:
        name: the last part of its prefix.
        files: by key.
        held: whether its manifest says that it is loaded only when somebody says so.
    """

    name: str
    files: tuple[DataFile, ...]
    held: bool = False

    @property
    def version(self) -> str:
        """16 hexadecimal digits that depend on the keys, sizes and etags of the files alone."""
        return version_of(self.files)


def version_of(files: Sequence[DataFile]) -> str:
    """Return the version that these files make, whatever their order."""
    lines = sorted(f"{file.key}\0{file.size}\0{file.etag}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:_VERSION_DIGITS]
