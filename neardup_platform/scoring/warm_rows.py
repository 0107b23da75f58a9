"""Rows of a mapped file are brought into memory at a start: in order, once, in a thread, while images are decided.

After a reboot none of the file is in memory. A query reads a thousand rows at random, each of which would wait for the
disk; in order the disk reads the same bytes many times as fast.
"""

import logging
import os
import threading
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

_PIECE = 1 << 20
# A file of more than this share of the free memory would displace its own first pages, and those of other files.
_SHARE = 0.8


class WarmRows:
    """Reads a file until it ends or `stop` is called; what cannot be read is left to those who need it.

    Args:
        path: of the file.
        size: bytes to read, from its beginning.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size, self._stopped = path, size, threading.Event()
        self._thread = threading.Thread(target=self._read, name="warm-rows", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._thread.join()

    def wait(self) -> None:
        """Waits until the file is read."""
        self._thread.join()

    def _read(self) -> None:
        free = psutil.virtual_memory().available
        if self._size > _SHARE * free:
            log.info("%s stays on disk: %.1f GB of it, %.1f GB of memory are free", *self._described(free))
            return
        try:
            with self._path.open("rb", 0) as file:
                piece = bytearray(_PIECE)
                for at in range(0, self._size, _PIECE):
                    if self._stopped.is_set() or not os.preadv(file.fileno(), [piece], at):
                        break
        except OSError as error:
            log.warning("%s is read when it is needed: %s", self._path, error)

    def _described(self, free: int) -> tuple[Path, float, float]:
        return self._path, self._size / 1e9, free / 1e9
