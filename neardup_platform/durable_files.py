"""Small files that hold the state of large ones: replaced as a whole, so readers and a restart see one moment.

Manifests of the term index and of the vector files are written this way. A write is complete, synced and renamed,
or it did not happen; what is read back carries a checksum.
"""

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file and its checksum.

    Raises:
        OSError: the disk is full or broken; the former file stays.
    """
    text = json.dumps(content)
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w") as file:
        file.write(json.dumps({"crc": zlib.crc32(text.encode()), "content": text}))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(path.parent)


def read_sealed(path: Path) -> dict[str, Any] | None:
    """What `write_sealed` wrote, or None where there is no such file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        outer = json.loads(path.read_text())
        text = str(outer["content"])
        if zlib.crc32(text.encode()) != outer["crc"]:
            raise ValueError("wrong checksum")
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"it holds {type(content).__name__}, not an object")
    except FileNotFoundError:
        return None
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks or misstates {error}") from error
    return content


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
