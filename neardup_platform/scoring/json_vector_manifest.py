"""The manifest of the vector files: the store and models of their vectors, and how many rows are synced to disk."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import time_ns

from neardup_platform.errors import BadArtefact
from neardup_platform.files import read_sealed, write_sealed
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.compact import Layout

log = logging.getLogger(__name__)

NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the files hold.

    Attributes:
        store_id: of the store that the vectors come from.
        lsh_version, pair_version: models that produced the vectors.
        lsh_dim, pair_dim: their dimensions.
        compared: how many of the first entries of the pair vector the compact rows hold; 0 for files of a release
            without them, which had a file of pair vectors.
        generation: G in the names of the files; higher whenever the files are rebuilt.
        rows: rows that are synced to disk.
    """

    store_id: str
    lsh_version: str
    pair_version: str
    lsh_dim: int
    pair_dim: int
    generation: int = 0
    rows: int = 0
    compared: int = 0

    @classmethod
    def of(cls, store_id: str, models: Mapping[Kind, ModelSpec]) -> "Manifest":
        """Returns the manifest of an empty table."""
        lsh, pair = models[Kind.LSH], models[Kind.PAIR]
        return cls(store_id, lsh.version, pair.version, lsh.dim, pair.dim, compared=pair.first_score_entries)

    def suits(self, other: "Manifest") -> bool:
        """Returns whether both describe vectors of the same store and models; their compact rows may differ."""
        return replace(self, generation=0, rows=0, compared=0) == replace(other, generation=0, rows=0, compared=0)

    @property
    def dims(self) -> tuple[int, int]:
        """Entries of the two vectors."""
        return self.lsh_dim, self.pair_dim

    @property
    def layout(self) -> Layout:
        """Of the compact rows."""
        return Layout(self.lsh_dim, self.compared)

    @property
    def row_bytes(self) -> tuple[int, ...]:
        """Bytes of a row, by file."""
        return (2 * self.lsh_dim, self.layout.width) if self.compared else (2 * self.lsh_dim,)

    def paths(self, folder: Path) -> list[Path]:
        """Returns the paths of the files: of the `lsh` vectors, and of the compact rows, if there are any."""
        lsh = folder / f"{Kind.LSH}-{self.generation}.f16"
        return [lsh, folder / f"compact-{self.compared}-{self.generation}.u8"] if self.compared else [lsh]

    def pair_path(self, folder: Path) -> Path:
        """Returns the path of the pair vectors that earlier releases mapped, float16 [·, pair_dim]."""
        return folder / f"{Kind.PAIR}-{self.generation}.f16"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces the manifest.

    Raises:
        OSError: the disk is full or broken; the previous manifest stays.
    """
    write_sealed(folder / NAME, asdict(manifest))


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest, or None where there are no files yet.

    Raises:
        BadArtefact: it is damaged, or a file is shorter than its synced rows.
    """
    try:
        content = read_sealed(folder / NAME)
        if content is None:
            return None
        manifest = Manifest(**content)
        for path, row_bytes in zip(manifest.paths(folder), manifest.row_bytes, strict=True):
            size = path.stat().st_size
            if size < manifest.rows * row_bytes:
                raise ValueError(f"{path.name} has {size} bytes, {manifest.rows * row_bytes} expected")
    except (OSError, ValueError, TypeError) as error:
        raise BadArtefact(f"vectors {folder}: {error}; they are read from the store again") from error
    return manifest


def usable_manifest(folder: Path, wanted: Manifest) -> Manifest | None:
    """Returns the manifest if its files hold the vectors wanted; otherwise logs why not and returns None."""
    try:
        found = read_manifest(folder)
    except BadArtefact as error:
        log.error("%s", error)
        return None
    if found is not None and not found.suits(wanted):
        log.warning("vectors %s are of another store or other models; they are read from this store again", folder)
        return None
    return found


def unused_generation(folder: Path) -> int:
    """Returns a generation that no earlier files of this folder had, deleted ones included: followers compare it."""
    numbers = [path.stem.rpartition("-")[2] for path in folder.glob("*.f16")]
    return max([time_ns(), *(int(number) + 1 for number in numbers if number.isdecimal())])
