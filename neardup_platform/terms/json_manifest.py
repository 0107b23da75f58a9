"""The manifest of a term index: its active segments, and which of their images are deleted."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.files import read_sealed, write_sealed

NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of an index.

    Attributes:
        version: of the term space.
        source: id of the store that the images come from; an index of another store is not used.
        generation: higher with every change.
        segments: file names, in order of ordinal.
        deleted: ordinals that a segment still holds, ascending.
    """

    version: str
    source: str
    generation: int = 0
    segments: Sequence[str] = ()
    deleted: Sequence[int] = ()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replaces the manifest.

    Raises:
        OSError: the disk is full or broken; the previous manifest stays.
    """
    # Not `asdict`, which copies every ordinal.
    write_sealed(folder / NAME, {field.name: getattr(manifest, field.name) for field in fields(manifest)})


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest, or None where there is no index yet.

    Raises:
        BadArtefact: the manifest is damaged.
    """
    path = folder / NAME
    try:
        content = read_sealed(path)
        return None if content is None else Manifest(**content)
    except (ValueError, TypeError) as error:
        raise BadArtefact(f"manifest {path}: {error}; the index is rebuilt from the store") from error
