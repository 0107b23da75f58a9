"""Atomic and durable files and folders.

A small file that describes the state of larger ones is replaced as a whole: it is written under another name, synced,
and renamed, so readers and a restart see the old content or the new content. A sealed file also carries a checksum.
What a marker refers to reaches the disk before the marker: call `sync_tree` before writing a marker, or `publish_tree`
where the name of a folder is the marker.
"""

import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any


def replace_file(path: Path, content: str | bytes, *, durable: bool = True, private: bool = False) -> None:
    """Replace a file atomically: readers see the old content or the new content.

    Args:
        durable: whether the file survives a power cut once this returns.
        private: whether only its owner may read it (0600).

    Raises:
        OSError: the disk is full or broken; the previous file is unchanged.
    """
    with _written(path, content, private) as staged:
        if durable:
            replace_durably(staged, path)
        else:
            staged.replace(path)


def create_file(path: Path, content: str | bytes) -> None:
    """Create a private (0600), durable file that must not exist yet; it appears complete or not at all.

    Raises:
        FileExistsError: the file exists; its content is unchanged.
        OSError: the disk is full or broken.
    """
    with _written(path, content, private=True) as staged:
        _sync(staged)
        os.link(staged, path)
        sync_folder(path.parent)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to, with the suffix of `path`; if the block succeeds, that file durably replaces `path`.

    Raises:
        OSError: the disk is full or broken; the previous file is unchanged.
    """
    staged = path.with_name(f".{path.stem}.{_writer()}.tmp{path.suffix}")
    try:
        yield staged
        replace_durably(staged, path)
    finally:
        staged.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replace a private (0600), durable JSON file atomically."""
    replace_file(path, json.dumps(value, indent=1), private=True)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object written by `write_json`; empty if the file is missing or damaged."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a JSON file and its checksum durably.

    Raises:
        OSError: the disk is full or broken; the previous file is unchanged.
    """
    text = json.dumps(content)
    replace_file(path, json.dumps({"crc": zlib.crc32(text.encode()), "content": text}))


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The content that `write_sealed` wrote, or None if the file does not exist.

    Raises:
        ValueError: the file is damaged.
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
        raise ValueError(f"missing or invalid field: {error}") from error
    return content


def write_at(file: FileIO, content: bytes | memoryview, at: int) -> None:
    """Write bytes in place, through the file and not through a map of it, where a full disk would kill the process.

    Raises:
        OSError: the disk is full or broken.
    """
    data = memoryview(content)
    while data:
        done = os.pwrite(file.fileno(), data, at)
        data, at = data[done:], at + done


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    _sync(folder)


def sync_tree(folder: Path) -> None:
    """Sync every file and folder below `folder`, and its name in its parent. Nothing may write to it meanwhile.

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
    """Sync a complete folder, then rename it to `folder`: the name says that it is complete.

    Raises:
        OSError: the disk is full or broken, or `folder` exists and is not empty.
    """
    sync_tree(staged)
    staged.rename(folder)
    sync_folder(folder.parent)


def publish_once(staged: Path, folder: Path, is_whole: Callable[[Path], bool]) -> None:
    """Publish a folder that several processes may publish at once: the first one wins, and all use its folder.

    Args:
        is_whole: whether an existing `folder` is usable; if not, it is replaced.

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
    """Rename a complete file to `path` so that it survives a power cut.

    Raises:
        OSError: the disk is full or broken; the previous file is unchanged.
    """
    _sync(staged)
    staged.replace(path)
    sync_folder(path.parent)


@contextmanager
def _written(path: Path, content: str | bytes, private: bool) -> Iterator[Path]:
    """Yield a file with this content next to `path`; remove it at the end of the block if it is still there."""
    staged = path.with_name(f".{path.name}.{_writer()}.tmp")
    staged.unlink(missing_ok=True)
    try:
        # The mode applies from the start: a private file is never readable by others.
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        yield staged
    finally:
        staged.unlink(missing_ok=True)


def _writer() -> str:
    """A name that no other live writer uses; one that died can leave a file under it, which the next one replaces."""
    return f"{os.getpid()}-{threading.get_native_id()}"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
