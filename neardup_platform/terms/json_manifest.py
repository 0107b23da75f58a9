"""The manifest of a term index: which segments are in force and which of their images are deleted.

Replaced as a whole by writing, syncing and renaming, so readers and a restart after a crash see one moment.
"""

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from neardup_platform.errors import BadArtefact
from neardup_platform.terms.mmap_segment import sync_folder

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
    content = json.dumps(asdict(manifest))
    temporary = folder / f"{NAME}.tmp"
    with temporary.open("w") as file:
        file.write(json.dumps({"crc": zlib.crc32(content.encode()), "content": content}))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / NAME)
    sync_folder(folder)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in force, or None where there is no index yet.

    Raises:
        BadArtefact: it is damaged.
    """
    path = folder / NAME
    try:
        outer = json.loads(path.read_text())
        content = str(outer["content"])
        if zlib.crc32(content.encode()) != outer["crc"]:
            raise ValueError("wrong checksum")
        return Manifest(**json.loads(content))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BadArtefact(f"manifest {path}: {error}; the index is rebuilt from the store") from error
