"""The worker's signs of life: its heartbeat, its reports, and whether an operator wants it to stop."""

import logging
import os
import threading
from collections.abc import Callable

from neardup_platform.clock import Clock
from neardup_platform.settings import Settings
from neardup_platform.stream.worker import Worker
from neardup_platform.supervise.heartbeat import Heartbeat, Phase, paused_by, write_heartbeat

log = logging.getLogger(__name__)

Report = Callable[[dict[str, float]], None]


class Liveness:
    """Writes the heartbeat every `heartbeat_s` and reports every `report_s`."""

    def __init__(self, settings: Settings, clock: Clock, report: Report) -> None:
        self._settings, self._clock, self._report = settings, clock, report
        self._started_ms = clock.now_ms()
        self._beat_s = self._report_s = 0.0
        self._doing = ""
        self._lock = threading.Lock()

    def starting(self, doing: str, done: int, of: int) -> None:
        """Write how far the start has come; see `Progress`. A new activity is written at once."""
        now_s = self._clock.monotonic_s()
        # Several threads verify the term index at once.
        with self._lock:
            if doing == self._doing and now_s < self._beat_s:
                return
            if doing != self._doing:
                log.info("starting: %s", doing)
            self._doing, self._beat_s = doing, now_s + self._settings.worker.heartbeat_s
            self._write(Phase.STARTING, {}, progress=f"{doing}, {done:,} of {of:,}" if of else doing)

    def waiting_for_kafka(self) -> None:
        """Write that the start waits for the broker."""
        self.starting("waiting for Kafka", 0, 0)

    def started(self) -> None:
        """End the start: the next heartbeat is due at once."""
        self._beat_s = 0.0

    def stopped(self, worker: Worker) -> None:
        """Write the last heartbeat."""
        self._write(Phase.STOPPED, worker.metrics(), worker.classifier_version)

    def due(self, worker: Worker) -> bool:
        """Write and report when it is time; returns whether an operator has paused the worker."""
        now_s = self._clock.monotonic_s()
        if now_s < self._beat_s:
            return False
        self._beat_s = now_s + self._settings.worker.heartbeat_s
        metrics = worker.metrics()
        self._write(Phase.RUNNING, metrics, worker.classifier_version, worker.doing)
        if now_s >= self._report_s:
            self._report_s = now_s + self._settings.worker.report_s
            self._report(metrics)
        by = paused_by(self._settings.home)
        if by is not None:
            log.info("paused by %s", by)
        return by is not None

    def _write(self, phase: Phase, metrics: dict[str, float], classifier: str = "", progress: str = "") -> None:
        heartbeat = Heartbeat(os.getpid(), self._started_ms, self._clock.now_ms(), phase, metrics, classifier, progress)
        write_heartbeat(self._settings.home, heartbeat)
