"""Supervises the stream worker without Dagster: `neardup up` runs it where no code location is installed.

The rules are those of the job `stream_worker`: one supervisor per home, the same back-off after crashes, a stalled
worker is killed, and a pause stops the worker until `neardup resume`.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from neardup_platform.clock import Clock, SystemClock
from neardup_platform.errors import HomeInUse
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import paused_by
from neardup_platform.supervise.restarts import WorkerExit, crashes_in_a_row, delay_s, describe_crash
from neardup_platform.supervise.run_record import RunRecord, sole_supervisor
from neardup_platform.supervise.service import Service
from neardup_platform.supervise.stop_worker import stop_worker
from neardup_platform.supervise.worker_process import WorkerProcess, stop_leftover
from neardup_platform.supervise.worker_watch import WorkerWatch
from neardup_platform.terminal_text import log_to_stderr

log = logging.getLogger(__name__)

NAME = "worker"
WORKER = (sys.executable, "-m", "neardup_platform.stream.supervised_process")

_LOOK_S = 1.0
# Longer than a worker may take to stop.
_STOP_S = 40.0


def worker_service(settings: Settings) -> Service:
    """The service that supervises the worker; ready once its process runs.

    Args:
        settings: resolved; the worker inherits them as environment variables.
    """
    return Service(
        name=NAME,
        argv=(sys.executable, "-m", "neardup_platform.servers.worker_supervision"),
        env=environment(settings),
        probe=lambda: None,
        after=("kafka", "s3"),
        before_restart=lambda: stop_worker(settings.home),
        stop_timeout_s=_STOP_S,
    )


class WorkerSupervision:
    """Keeps one worker process alive until `stop` is set.

    Args:
        record: of this supervisor, from `sole_supervisor`.
        command: of the worker process.
    """

    def __init__(
        self, settings: Settings, record: RunRecord, stop: threading.Event, command: Sequence[str], clock: Clock
    ) -> None:
        self._settings = settings
        self._watch = WorkerWatch(settings.home, settings.worker.stalled_s, record, clock, log.warning)
        self._stop = stop
        self._command = command
        self._clock = clock

    def run(self) -> None:
        """Start the worker, again after each crash, except while it is paused."""
        crashes = 0
        while not self._stop.is_set():
            if self._watch.renew(None):
                self._stop.wait(_LOOK_S)
                continue
            exited = self._one_process()
            if self._stop.is_set() or paused_by(self._settings.home) is not None:
                crashes = 0
                continue
            crashes = crashes_in_a_row(crashes, exited)
            delay = delay_s(crashes, exited.exit_code)
            log.error("%s", describe_crash(exited, delay))
            self._wait(delay)

    def _one_process(self) -> WorkerExit:
        worker = WorkerProcess(self._command, environment(self._settings))
        log.info("started worker process %d", worker.pid)
        stopping = stalled = False
        try:
            while not (worker.wait(_LOOK_S) or stopping or stalled):
                stopping = self._watch.renew(worker.identity) or self._stop.is_set()
                stalled = self._watch.is_stalled(worker)
        finally:
            worker.stop(kill=stalled)
        return worker.exit_info(stalled)

    def _wait(self, seconds: float) -> None:
        """Wait before the next start, at most until a stop or a pause."""
        until = self._clock.monotonic_s() + seconds
        while self._clock.monotonic_s() < until and not self._stop.is_set() and not self._watch.renew(None):
            self._stop.wait(min(_LOOK_S, max(0.0, until - self._clock.monotonic_s())))


def main() -> int:
    """Supervise the worker of `NEARDUP_HOME` until SIGTERM or SIGINT; return the exit status."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings()
    try:
        with sole_supervisor(settings.home, f"{NAME}-{os.getpid()}") as record:
            if stop_leftover(record.worker):
                log.warning("stopped a worker process (%s) that had outlived its supervisor", record.worker)
            WorkerSupervision(settings, record, stop, WORKER, SystemClock()).run()
    except HomeInUse as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
