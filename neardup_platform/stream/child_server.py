"""The other end of a `ChildProcess`: a loop that answers the worker's calls, one after the other."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from neardup_platform.errors import NeardupError, RetryableError, SetupError
from neardup_platform.settings import Settings
from neardup_platform.stream.child_process import Advanced, Failed
from neardup_platform.terminal_text import log_to_stderr

log = logging.getLogger(__name__)

# Seconds between two reports.
_PACE_S = 0.5


class Worker:
    """The worker as its process sees it.

    Args:
        fingerprint: of the worker's settings.
    """

    def __init__(self, connection: Connection, fingerprint: str) -> None:
        self._connection, self._fingerprint = connection, fingerprint
        self._process = os.getppid()
        self._next_s, self._lock = 0.0, threading.Lock()
        # When a step of the current call was first and last reported; steps overlap.
        self._spans: dict[str, tuple[float, float]] = {}

    def settings(self) -> Settings:
        """Return the settings of this process, which decide as the worker's do.

        Raises:
            SetupError: they do not.
        """
        settings = Settings()
        if settings.fingerprint() != self._fingerprint:
            raise SetupError("neardup.toml has changed since the worker started: restart the worker, send it again")
        return settings

    def check(self) -> None:
        """End this process if the worker has ended; called by any thread, now and then in a long call."""
        if os.getppid() != self._process:
            raise SystemExit(1)

    def advance(self, doing: str, done: int, of: int) -> None:
        """Report how far the call is, as of `Progress`; called by any thread, as often as it likes."""
        self.check()
        with self._lock:
            now_s = time.monotonic()
            is_new = doing not in self._spans
            self._spans[doing] = self._spans.get(doing, (now_s, now_s))[0], now_s
            if is_new or now_s >= self._next_s or done == of:
                self._next_s = now_s + _PACE_S
                self._connection.send(Advanced(doing, done, of))

    def log_phases(self, call: object, started_s: float) -> None:
        """Log how long a call and its steps took."""
        self._spans[type(call).__name__.lower()] = started_s, time.monotonic()
        for name, (first_s, last_s) in self._spans.items():
            log.info("phase %s: %.2f s", name, last_s - first_s)
        self._spans = {}


def serve(server: Callable[[Worker], Callable[[Any], object]]) -> None:
    """Answer calls until the worker closes its end or is gone.

    Args:
        server: returns what answers a call of this worker. What it raises is reported to the worker.
    """
    log_to_stderr("%(asctime)s %(message)s")
    connection = Connection(int(sys.argv[1]))
    worker = Worker(connection, sys.argv[2])
    answer = server(worker)
    while True:
        try:
            call = connection.recv()
        except (EOFError, OSError):
            return
        started_s = time.monotonic()
        answered = _answered(answer, call)
        worker.log_phases(call, started_s)
        try:
            connection.send(answered)
        except OSError:
            return


def _answered(answer: Callable[[Any], object], call: object) -> object:
    try:
        return answer(call)
    except NeardupError as error:
        # What this machine lacks, such as disk, may be there when the command is sent again.
        return Failed(str(error), isinstance(error, RetryableError | SetupError))
    except Exception as error:
        log.exception("a call failed")
        return Failed(f"{type(error).__name__}: {error}", temporary=False)
