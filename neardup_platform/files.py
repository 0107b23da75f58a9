"""What a power cut must not take apart: markers and manifests, and the files and folders that they vouch for.

Small files that hold the state of large ones are replaced as a whole, so readers and a restart see one moment: a write
is complete, synced and renamed, or it did not happen; what is read back carries a checksum. What a marker stands for is
on the disk before it: `sync_tree` before a marker is written, `publish_tree` where the name of a folder is the marker.
"""

import json
import os
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file and its checksum.

    Raises:
        OSError: the disk is full or broken; the former file stays.
    """
    text = json.dumps(content)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps({"crc": zlib.crc32(text.encode()), "content": text}))
    replace_durably(temporary, path)


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
    _sync(folder)


def sync_tree(folder: Path) -> None:
    """Return when every file and folder below a folder, and its own name, are on the disk; nobody writes to it.

    Raises:
        OSError: the disk is full or broken.
    """
    for below, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            path = Path(below, name)
            if not path.is_symlink():
                _sync(path)
    _sync(folder)
    _sync(folder.parent)


def publish_tree(staged: Path, folder: Path) -> None:
    """Give a folder its name, which says that it is whole, once all of it is on the disk.

    Raises:
        OSError: the disk is full or broken, or there is a folder of that name that is not empty.
    """
    sync_tree(staged)
    staged.rename(folder)
    sync_folder(folder.parent)


def publish_once(staged: Path, folder: Path, is_whole: Callable[[Path], bool]) -> None:
    """As `publish_tree`, where several processes may do so at once: the first one's folder stays, others may use it.

    Args:
        is_whole: whether a folder of that name is of use; one that is not is replaced.

    Raises:
        OSError: the disk is full or broken.
    """
    try:
        publish_tree(staged, folder)
    except OSError:
        if is_whole(folder):
            return
        shutil.rmtree(folder, ignore_errors=True)
        publish_tree(staged, folder)


def replace_durably(staged: Path, path: Path) -> None:
    """Put a file in the place of another, whole and on the disk.

    Raises:
        OSError: the disk is full or broken; the former file stays.
    """
    _sync(staged)
    staged.replace(path)
    sync_folder(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
