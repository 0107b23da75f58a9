"""Gives parts of a file back to the disk, in place: they read as zeros afterwards, and the file keeps its length."""

import ctypes
import errno
import os
from pathlib import Path
from tempfile import TemporaryFile

# linux/falloc.h
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS)

_libc = ctypes.CDLL(None, use_errno=True)


def punch_hole(descriptor: int, at: int, length: int) -> bool:
    """Give bytes of a file back; pages that were not written to the disk yet never are.

    Returns:
        False where the file system cannot: nothing has happened.

    Raises:
        OSError: the disk is broken.
    """
    if not length:
        return True
    mode = _KEEP_SIZE | _PUNCH_HOLE
    while _libc.fallocate(descriptor, mode, ctypes.c_int64(at), ctypes.c_int64(length)):
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def can_punch_holes(folder: Path) -> bool:
    """Whether the file system of a folder can.

    Raises:
        OSError: the disk is full or broken.
    """
    with TemporaryFile(dir=folder) as file:
        file.truncate(1)
        return punch_hole(file.fileno(), 0, 1)
