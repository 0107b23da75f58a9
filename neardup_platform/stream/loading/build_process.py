"""The process that builds a load, as `remote_build.py` calls it."""

import logging
import os
import threading
import time
from multiprocessing.connection import Connection

from neardup_platform.bootstrap.building import Building
from neardup_platform.clock import SystemClock
from neardup_platform.errors import NeardupError, PermanentError, RetryableError, SetupError
from neardup_platform.settings import Settings
from neardup_platform.stream.loading.remote_build import Advanced, Answer, Call, Failure, Scan
from neardup_platform.terminal_text import log_to_stderr

log = logging.getLogger(__name__)

# Seconds between two reports.
_PACE_S = 0.5


class _Server:
    def __init__(self, connection: Connection) -> None:
        self._connection, self._parent = connection, os.getppid()
        self._building: Building | None = None
        self._next_s, self._lock = 0.0, threading.Lock()
        # When a phase of the current call was first and last reported; phases overlap.
        self._spans: dict[str, tuple[float, float]] = {}

    def answer(self, call: Call) -> Answer:
        """Carry out a call, and log how long its phases took."""
        self._spans, started_s = {}, time.monotonic()
        answer = self._answer(call)
        self._spans[type(call).__name__.lower()] = started_s, time.monotonic()
        for name, (first_s, last_s) in self._spans.items():
            log.info("phase %s: %.2f s", name, last_s - first_s)
        return answer

    def _answer(self, call: Call) -> Answer:
        if isinstance(call, Scan):
            settings = Settings()
            if settings.fingerprint() != call.settings:
                raise SetupError("neardup.toml has changed since the worker started: restart the worker")
            now_ms = SystemClock().now_ms()
            self._building = Building(settings, call.order, now_ms, self._advance)
            return self._building.scan()
        if self._building is None:
            raise PermanentError("the worker has to scan the data set first")
        return self._building.build(call.reservation)

    def _advance(self, doing: str, done: int, of: int) -> None:
        """Report now and then, and end with the worker; called by any thread."""
        if os.getppid() != self._parent:
            raise SystemExit(1)
        with self._lock:
            now_s = time.monotonic()
            self._spans[doing] = self._spans.get(doing, (now_s, now_s))[0], now_s
            if now_s >= self._next_s or done == of:
                self._next_s = now_s + _PACE_S
                self._connection.send(Advanced(doing, done, of))


def serve(connection: Connection) -> None:
    """Answer calls until the worker closes its end or is gone."""
    log_to_stderr("%(message)s")
    server = _Server(connection)
    while True:
        try:
            call = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = server.answer(call)
        except NeardupError as error:
            answer = Failure(str(error), isinstance(error, RetryableError))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the worker must report it
            answer = Failure(f"{type(error).__name__}: {error}")
        try:
            connection.send(answer)
        except OSError:
            return
