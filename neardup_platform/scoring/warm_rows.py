"""Rows of a mapped file are brought into memory: in order, once, before many queries need them.

After a reboot none of the file is in memory, and of a load of millions of images only what was written last. A query
reads a thousand rows at random, each of which would wait for the disk; in order the disk reads the same bytes many
times as fast. A start does it in a thread while images are decided, a load before its images are found.
"""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

_PIECE = 1 << 20
# A file of more than this share of the free memory would displace its own first pages, and those of other files.
_SHARE = 0.8


def read_into_memory(path: Path, begin: int, end: int, stopped: Callable[[], bool]) -> None:
    """Read a part of a file, unless memory does not suffice; what cannot be read is left to those who need it.

    Args:
        begin, end: bytes; the file may be shorter.
        stopped: asked now and then whether to end early.
    """
    size, free = end - begin, psutil.virtual_memory().available
    if size > _SHARE * free:
        log.info("%s stays on disk: %.1f GB of it, %.1f GB of memory are free", path, size / 1e9, free / 1e9)
        return
    try:
        with path.open("rb", 0) as file:
            piece = bytearray(_PIECE)
            for at in range(begin, end, _PIECE):
                if stopped() or not os.preadv(file.fileno(), [piece], at):
                    break
    except OSError as error:
        log.warning("%s is read when it is needed: %s", path, error)


class WarmRows:
    """Reads a file in a thread, until it ends or `stop` is called; see `read_into_memory`.

    Args:
        path: of the file.
        size: bytes to read, from its beginning.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._stopped = threading.Event()
        reading = (path, 0, size, self._stopped.is_set)
        self._thread = threading.Thread(target=read_into_memory, args=reading, name="warm-rows", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._thread.join()

    def wait(self) -> None:
        """Waits until the file is read."""
        self._thread.join()
