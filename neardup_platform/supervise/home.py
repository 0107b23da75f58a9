"""NEARDUP_HOME: who owns it, which processes are its own, and small files that are always whole.

One supervisor owns a home, by a lock that the kernel frees when it dies. Every process it starts carries the
home's mark in its environment, so a stale process id can never be mistaken for one of ours.
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neardup_platform.errors import HomeInUse, SetupError
from neardup_platform.files import replace_durably, sync_folder

MARK = "NEARDUP_MARK"
# Kafka and SeaweedFS both stop in unclear ways on a full disk, so `up` refuses earlier and says why.
MIN_FREE_BYTES = 512 * 1024 * 1024

_LOCK = "supervisor.lock"


def prepare_home(home: Path) -> None:
    """Create the home with its `logs` and `run` folders.

    Raises:
        SetupError: it cannot be written, or its disk has less than `MIN_FREE_BYTES` left.
    """
    try:
        for folder in (home, home / "logs", home / "run"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"cannot create {error.filename or home}: {error.strerror}: set NEARDUP_HOME to a folder you can write"
        ) from error
    full = disk_shortage(home)
    if full:
        raise SetupError(f"{full}: free some space, or set NEARDUP_HOME to another disk")


def disk_shortage(home: Path, min_free_bytes: int = MIN_FREE_BYTES) -> str | None:
    """What is wrong with the disk of `home`, or None where at least `min_free_bytes` are free."""
    free = shutil.disk_usage(home).free
    if free >= min_free_bytes:
        return None
    return f"the disk of {home} is full: {free >> 20} MB free of the {min_free_bytes >> 20} MB needed"


@contextlib.contextmanager
def owned(home: Path) -> Iterator[None]:
    """Own `home` for the length of a with block.

    Raises:
        HomeInUse: another process owns it.
    """
    descriptor = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(descriptor, 32, 0).decode() or "unknown"
            raise HomeInUse(
                f"{home} is in use by process {owner}: stop it with `neardup down`, "
                "or set NEARDUP_HOME to another folder"
            ) from error
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def mark_of(home: Path) -> str:
    """The text that the environment of every process of `home` carries, made once.

    The path is part of it, so that a copied home does not lay claim to the original's processes.
    """
    file = home / "run" / "mark"
    with contextlib.suppress(FileExistsError):
        write_new(file, secrets.token_hex(16))
    return f"{file.read_text().strip()}:{home}"


def write_new(path: Path, text: str) -> None:
    """Write a private (0600) file that must not exist yet; it appears whole or not at all.

    Raises:
        FileExistsError: it exists; its content is untouched.
    """
    staged = _staged(path, text)
    try:
        os.link(staged, path)
        sync_folder(path.parent)
    finally:
        staged.unlink()


def write_json(path: Path, value: Any) -> None:
    """Replace a private (0600) JSON file; a reader sees the old or the new content, never half of one."""
    replace_durably(_staged(path, json.dumps(value, indent=1)), path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object written by `write_json`, empty where there is none or it is damaged."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _staged(path: Path, text: str) -> Path:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return Path(file.name)
