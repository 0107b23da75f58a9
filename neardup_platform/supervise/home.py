"""NEARDUP_HOME: its folders, its owner, and the mark that identifies its processes.

One supervisor owns a home, through a lock that the kernel releases when the process dies. Every process it starts
carries the mark of the home in its environment, so a reused process id is never mistaken for one of ours.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from neardup_platform.errors import HomeInUse, SetupError
from neardup_platform.files import create_file

MARK = "NEARDUP_MARK"
# Kafka and SeaweedFS both fail in unclear ways on a full disk, so `up` refuses earlier and says why.
MIN_FREE_BYTES = 512 * 1024 * 1024

# Contains the process id of the owner.
_LOCK = "supervisor.lock"


def prepare_home(home: Path) -> None:
    """Create the home with its `logs` and `run` folders.

    Raises:
        SetupError: the home is not writable, or its disk has less than `MIN_FREE_BYTES` free.
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
    """A message if the disk of `home` has less than `min_free_bytes` free, otherwise None."""
    free = shutil.disk_usage(home).free
    if free >= min_free_bytes:
        return None
    return f"the disk of {home} is full: {free >> 20} MB free of the {min_free_bytes >> 20} MB needed"


@contextlib.contextmanager
def owned(home: Path) -> Iterator[None]:
    """Own `home` for the duration of a with block.

    Raises:
        HomeInUse: another process owns it.
    """
    try:
        # Without flock an existence lock would outlive a killed owner, so there is no fallback.
        lock = FileLock(home / _LOCK, timeout=0, mode=0o600, fallback_to_soft=False).acquire()
    except Timeout as error:
        raise HomeInUse(
            f"{home} is in use by process {_owner(home)}: stop it with `neardup down`, "
            "or set NEARDUP_HOME to another folder"
        ) from error
    with lock:
        (home / _LOCK).write_text(str(os.getpid()))
        yield


def mark_of(home: Path) -> str:
    """The text in the environment of every process of `home`, generated once.

    It contains the path, so a copied home does not claim the processes of the original.
    """
    file = home / "run" / "mark"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        create_file(file, secrets.token_hex(16))
    return f"{file.read_text().strip()}:{home}"


def home_id(home: Path) -> str | None:
    """What is generated of the mark, the same wherever a home is mounted; None if it has no mark yet."""
    try:
        return (home / "run" / "mark").read_text().strip()
    except FileNotFoundError:
        return None


def _owner(home: Path) -> str:
    return (home / _LOCK).read_text() or "unknown"
