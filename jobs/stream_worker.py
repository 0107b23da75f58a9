"""The job `stream_worker`: one endless run that supervises the worker process.

A crashed or stalled worker is started again immediately, with back-off if it keeps failing. A pause, or SIGTERM or
SIGINT to the run (`neardup down`, a machine that shuts down), stops it cleanly: the run ends in Success, unless the
worker was failing at the time. If the run is terminated in Dagster, it ends as Canceled.

The run judges the metrics in the worker's heartbeat once a minute. It records them as an observation of the asset
`stream/worker`, where Dagster plots them, every five minutes, when a process has started to work, and when a check
changes; nothing is recorded per image.
"""

import contextlib
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType

import dagster as dg

from assets.stream_commands import NewCommands
from assets.stream_worker import observation
from assets.stream_worker_checks import ChangedVerdicts
from neardup_platform.clock import SystemClock
from neardup_platform.errors import HomeInUse, NeardupError, ServerUnavailable
from neardup_platform.settings import Settings
from neardup_platform.supervise.heartbeat import paused_by
from neardup_platform.supervise.restarts import (
    WorkerExit,
    crashes_in_a_row,
    delay_s,
    describe_crash,
    describe_exit,
    unclean_stop,
)
from neardup_platform.supervise.run_record import (
    ProcessId,
    RunRecord,
    other_supervisor,
    sole_supervisor,
)
from neardup_platform.supervise.worker_process import WorkerProcess, stop_leftover
from neardup_platform.supervise.worker_watch import WorkerWatch
from resources.pause_sign import paused_anywhere_by
from resources.platform import PlatformResource
from resources.sign_of_life import SignOfLife, leave_sign

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parent.parent
# How often the run renews its heartbeat and checks the worker's. The end of the process is noticed immediately.
_CHECK_EVERY_S = 1.0
_ASK_DAGSTER_EVERY_S = 5.0
# A year of them is 100,000 events.
_OBSERVE_EVERY_S = 300.0
# Signs of life within `worker.stalled_s`.
_SIGNS = 6


@dg.op(description=__doc__)
def supervise_stream_worker(
    context: dg.OpExecutionContext, platform: PlatformResource
) -> Iterator[dg.AssetObservation | dg.Output[None]]:
    """Keep one worker process alive until the worker is paused or the run is stopped."""
    with contextlib.ExitStack() as held:
        try:
            settings = platform.settings()
            record = held.enter_context(sole_supervisor(settings.home, context.run_id))
        except ServerUnavailable as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except HomeInUse as error:
            other = other_supervisor(settings.home, time.time(), settings.worker.stalled_s)
            if other is None:
                raise dg.Failure(str(error), allow_retries=False) from error
            context.log.info(f"run {other} supervises the stream worker of {settings.home}: nothing to do")
            yield dg.Output(None)
            return
        if stop_leftover(record.worker):
            context.log.warning("stopped a worker process (%s) that had outlived its run", record.worker)
        yield from _Supervision(context, settings, record).run(platform.worker_command())
    yield dg.Output(None)


@dg.job(
    name="stream_worker",
    # Signals reach the op only in the run's own process.
    executor_def=dg.in_process_executor,
    description=__doc__,
    tags={"neardup/kind": "stream"},
)
def stream_worker() -> None:
    """One op: `supervise_stream_worker`."""
    supervise_stream_worker()


class _Supervision:
    """The state of the supervision loop."""

    def __init__(self, context: dg.OpExecutionContext, settings: Settings, record: RunRecord) -> None:
        self._context = context
        self._settings = settings
        self._watch = WorkerWatch(settings.home, settings.worker.stalled_s, record, SystemClock(), context.log.warning)
        self._asked_at = 0.0
        self._signed_at = -math.inf
        self._interrupted = False
        self._paused_by: str | None = None
        self._judged_s = self._observed_s = -math.inf
        self._verdicts = ChangedVerdicts()
        self._commands = NewCommands(context.instance, settings)

    def run(self, command: list[str]) -> Iterator[dg.AssetObservation]:
        """Start the worker, again after each crash, until it is paused or this run is stopped.

        Raises:
            DagsterExecutionInterruptedError: the run was terminated in Dagster, or is already finished.
            dagster.Failure: a regular stop, but the worker had failed or did not stop cleanly.
        """
        crashes, last = 0, ""
        self._catch_signals()
        while not self._check(None):
            exited = yield from self._one_process(command)
            last = unclean_stop(exited, self._watch.running) if self._stopping() else describe_exit(exited)
            if self._stopping():
                break
            crashes = crashes_in_a_row(crashes, exited)
            delay = delay_s(crashes, exited.exit_code)
            what = describe_crash(exited, delay)
            self._context.log.error(what)
            self._context.instance.report_runless_asset_event(self._verdicts.ended(what))
            self._wait(delay)
        if self._interrupted and self._terminated():
            raise dg.DagsterExecutionInterruptedError
        by = paused_by(self._settings.home) or self._paused_by
        why = f"the worker is paused by {by}" if by else "the platform stops, or this run was sent SIGTERM"
        if last:
            raise dg.Failure(f"{why}, and the worker was failing: {last}", allow_retries=False)
        self._context.log.info(f"{why}: this run ends")

    def _one_process(self, command: list[str]) -> Generator[dg.AssetObservation, None, WorkerExit]:
        """Run one worker process until it ends, also if it is stopped for a pause or an interrupt."""
        worker = WorkerProcess(command, self._environment())
        self._context.log.info("started worker process %d", worker.pid)
        stopping = stalled = self._watch.running = False
        self._judged_s = self._observed_s = -math.inf
        try:
            while not (worker.wait(_CHECK_EVERY_S) or stopping or stalled):
                stopping = self._check(worker.identity)
                stalled = self._watch.is_stalled(worker)
                yield from self._observed()
        finally:
            worker.stop(kill=stalled)
        return worker.exit_info(stalled)

    def _observed(self) -> Iterator[dg.AssetObservation]:
        """Judge the metrics once in `worker.report_s`; yields them and new commands as events of this run."""
        metrics, now_s = self._watch.metrics, time.monotonic()
        if not metrics or now_s - self._judged_s < self._settings.worker.report_s:
            return
        self._judged_s = now_s
        changed = self._verdicts.of(metrics)
        for evaluation in changed:
            self._context.instance.report_runless_asset_event(evaluation)
        if changed or now_s - self._observed_s >= _OBSERVE_EVERY_S:
            self._observed_s = now_s
            yield observation(metrics)
            self._catch_signals()
        try:
            for command in self._commands.after(metrics):
                yield command
                self._catch_signals()
        except NeardupError as error:
            # They are recorded with the next report; the line goes to the log of the process, not to the run's page.
            log.info("commands are recorded with the next report: %s", error)

    def _environment(self) -> dict[str, str]:
        """The settings with all addresses resolved, and the location of our packages."""
        # Imported here because it loads the Kafka and S3 clients, which double the load time of this code location.
        from neardup_platform.servers.endpoints import environment

        python_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        return {**environment(self._settings), "PYTHONPATH": python_path}

    def _check(self, worker: ProcessId | None) -> bool:
        """Renew the heartbeat; returns whether the worker must stop: paused, interrupted, or the run is finished."""
        self._watch.renew(worker)
        self._leave_sign()
        if time.monotonic() - self._asked_at > _ASK_DAGSTER_EVERY_S:
            self._asked_at = time.monotonic()
            # Marked as finished by an operator or the sensor: stop as if interrupted.
            self._interrupted |= self._terminated()
            self._paused_by = paused_anywhere_by(self._context.instance, self._settings.home)
        return self._stopping()

    def _leave_sign(self) -> None:
        """Leave a sign of life in the instance, several within the time after which the sensor counts a run as dead."""
        if time.monotonic() - self._signed_at < self._settings.worker.stalled_s / _SIGNS:
            return
        self._signed_at = time.monotonic()
        try:
            leave_sign(self._context.instance, SignOfLife(self._context.run_id, SystemClock().now_ms()))
        except Exception as error:  # noqa: BLE001 -- the instance is a database: the stream continues while it is away
            self._context.log.warning(f"no sign of life could be left in the Dagster instance: {error}")

    def _stopping(self) -> bool:
        return self._interrupted or paused_by(self._settings.home) is not None or self._paused_by is not None

    def _terminated(self) -> bool:
        """Whether Dagster was asked to end this run; a signal alone is a regular stop."""
        run = self._context.instance.get_run_by_id(self._context.run_id)
        return run is None or run.is_finished or run.status is dg.DagsterRunStatus.CANCELING

    def _catch_signals(self) -> None:
        """Record SIGINT and SIGTERM. Dagster would raise them, and reinstalls its own handlers at every event."""

        def interrupt(_number: int, _frame: FrameType | None) -> None:
            self._interrupted = True

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, interrupt)

    def _wait(self, seconds: float) -> None:
        """Wait before the next start, until `seconds` have passed or the run must stop."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._check(None):
            time.sleep(min(_CHECK_EVERY_S, max(0.0, until - time.monotonic())))
