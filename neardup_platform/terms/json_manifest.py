"""The manifest of a term index: which segments are in force and which of their images are deleted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.files import read_sealed, write_sealed

NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index consists of.

    Attributes:
        version: of the term space.
        source: which store the images come from; an index of another store is not used.
        generation: counts up with every change.
        segments: file names, in order of ordinal.
        deleted: ordinals that a segment still holds, ascending.
    """

    version: str
    source: str
    generation: int = 0
    segments: Sequence[str] = ()
    deleted: Sequence[int] = ()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest.

    Raises:
        OSError: the disk is full or broken; the former manifest stays in force.
    """
    write_sealed(folder / NAME, asdict(manifest))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in force, or None where there is no index yet.

    Raises:
        BadArtefact: it is damaged.
    """
    path = folder / NAME
    try:
        content = read_sealed(path)
        return None if content is None else Manifest(**content)
    except (ValueError, TypeError) as error:
        raise BadArtefact(f"manifest {path}: {error}; the index is rebuilt from the store") from error
