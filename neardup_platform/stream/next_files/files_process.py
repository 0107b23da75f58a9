"""The process that makes the files of the next store, as `remote_files.py` calls it."""

import os
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from neardup_platform.errors import NeardupError, SetupError
from neardup_platform.settings import Settings
from neardup_platform.stream.next_files.make_files import make_files
from neardup_platform.stream.next_files.remote_files import Advanced, Made, Make
from neardup_platform.terminal_text import log_to_stderr
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.opening import load_search_space, open_index

# Seconds between two reports.
_PACE_S = 0.5


class _Reports:
    """Reports now and then, and ends with the worker."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._parent = connection, os.getppid()
        self._next_s, self._lock, self._doing = 0.0, threading.Lock(), ""

    def advance(self, doing: str, done: int, of: int) -> None:
        """See `Progress`; called by any thread."""
        if os.getppid() != self._parent:
            raise SystemExit(1)
        with self._lock:
            now_s = time.monotonic()
            if now_s >= self._next_s or doing != self._doing:
                self._next_s, self._doing = now_s + _PACE_S, doing
                self._connection.send(Advanced(doing, done, of))


def _make(call: Make, reports: _Reports) -> None:
    settings = Settings()
    if settings.fingerprint() != call.settings:
        raise SetupError("neardup.toml has changed since the worker started: restart the worker, send it again")
    space = load_search_space(settings.terms)
    make_files(call.order, space, partial(_open_index, settings, space), reports.advance)


def _open_index(settings: Settings, space: TermSpace, folder: Path, source: str) -> TermIndex:
    return open_index(folder, space, settings.terms, source)


def serve(connection: Connection) -> None:
    """Carry out one call after the other until the worker closes its end or is gone."""
    log_to_stderr("%(asctime)s %(message)s")
    reports = _Reports(connection)
    while True:
        try:
            call = connection.recv()
        except (EOFError, OSError):
            return
        try:
            _make(call, reports)
            answer = Made()
        except NeardupError as error:
            answer = Made(str(error))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the worker must report it
            answer = Made(f"{type(error).__name__}: {error}")
        try:
            connection.send(answer)
        except OSError:
            return
