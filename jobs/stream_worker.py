"""The job `stream_worker`: one endless run that supervises the worker process.

A crashed or stalled worker is started again at once, with back-off when that keeps happening; a pause or a
termination of the run stops it in order. The worker's figures are recorded once a minute as observations of
the asset `stream/worker`, where Dagster plots them; nothing is recorded per image.
"""

import os
import signal
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import dagster as dg
from pydantic import Field

from assets.stream_worker import observation
from jobs.restarts import Ended, crashes_in_a_row, delay_s, describe, is_stalled
from jobs.worker_process import WorkerProcess, end_left_over
from neardup_platform.settings import Settings
from neardup_platform.supervision import Heartbeat, paused_by, read_heartbeat
from resources.platform import PlatformResource
from resources.run_record import ProcessId, RunRecord, renewed, sole_supervisor, write_record

_ROOT = Path(__file__).resolve().parent.parent
# How often the run renews its sign of life and looks at the worker's; an exit is noticed at once.
_LOOK_S = 1.0
_ASK_DAGSTER_EVERY_S = 5.0


class StreamWorkerConfig(dg.Config):
    """How the worker process is started."""

    worker_command: list[str] = Field(
        default=[sys.executable, "-m", "jobs.stream_worker_process"],
        description="Program and arguments; it must write heartbeats and end on SIGTERM.",
    )


@dg.op(description=__doc__)
def supervise_stream_worker(
    context: dg.OpExecutionContext, config: StreamWorkerConfig, platform: PlatformResource
) -> Iterator[dg.AssetObservation | dg.Output[None]]:
    """Keep one worker process alive until the worker is paused or the run is terminated."""
    settings = platform.settings()
    with sole_supervisor(settings.home, context.run_id) as record:
        if end_left_over(record.worker):
            context.log.warning("ended a worker process (%s) that had outlived its run", record.worker)
        yield from _Supervision(context, settings, record).run(config.worker_command)
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
    """What the loop carries from look to look."""

    def __init__(self, context: dg.OpExecutionContext, settings: Settings, record: RunRecord) -> None:
        self._context = context
        self._settings = settings
        self._record = record
        self._asked_at = 0.0
        self._heartbeat: Heartbeat | None = None

    def run(self, command: list[str]) -> Iterator[dg.AssetObservation]:
        """Start the worker, again and again, until it is paused."""
        crashes = 0
        while not self._look(None):
            ended = yield from self._one_process(command)
            if ended is None:
                break
            crashes = crashes_in_a_row(crashes, ended)
            delay = delay_s(crashes, ended.exit_code)
            self._context.log.error(describe(ended, delay))
            self._wait(delay)
        self._context.log.info("the worker is paused by %s: this run ends", paused_by(self._settings.home))

    def _one_process(self, command: list[str]) -> Generator[dg.AssetObservation, None, Ended | None]:
        """From start to end of one worker process; None where it was stopped for a pause."""
        messages = self._settings.home / "stream_worker_messages.jsonl"
        told = 0
        with dg.open_pipes_session(
            self._context, dg.PipesEnvContextInjector(), dg.PipesFileMessageReader(str(messages))
        ) as session:
            worker = WorkerProcess(command, self._environment(session.get_bootstrap_env_vars()))
            self._context.log.info("started worker process %d", worker.pid)
            paused, stalled = False, False
            try:
                while not (worker.wait(_LOOK_S) or paused or stalled):
                    paused = self._look(worker.identity)
                    stalled = self._stalled(worker)
                    for figures in session.get_custom_messages()[told:]:
                        told += 1
                        yield observation(figures)
            finally:
                worker.stop(kill=stalled)
        # Closing the session has read what the worker said last.
        for figures in session.get_custom_messages()[told:]:
            yield observation(figures)
        return None if paused or self._look(None) else worker.ended(stalled)

    def _environment(self, pipes: Mapping[str, str]) -> dict[str, str]:
        """Settings with every address resolved, the pipes, and where the package `jobs` is."""
        # Imported here, for it brings the Kafka and S3 clients, which double the time to load this location.
        from neardup_platform.embedded.endpoints import environment

        python_path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        return {**environment(self._settings), **pipes, "PYTHONPATH": python_path}

    def _look(self, worker: ProcessId | None) -> bool:
        """Give a sign of life, obey a termination from outside, and return whether the worker is paused."""
        self._record = renewed(self._record, worker, time.time_ns() // 1_000_000)
        write_record(self._settings.home, self._record)
        if time.monotonic() - self._asked_at > _ASK_DAGSTER_EVERY_S:
            self._asked_at = time.monotonic()
            run = self._context.instance.get_run_by_id(self._context.run_id)
            if run is None or run.is_finished:
                # Marked over by force or by the sensor: leave as if interrupted.
                signal.raise_signal(signal.SIGINT)
        return paused_by(self._settings.home) is not None

    def _stalled(self, worker: WorkerProcess) -> bool:
        try:
            self._heartbeat = read_heartbeat(self._settings.home)
        except (OSError, ValueError, KeyError) as error:
            # The last good one goes on counting.
            self._context.log.warning("the heartbeat is unreadable: %r", error)
        now_ms = time.time_ns() // 1_000_000
        mine = self._heartbeat if self._heartbeat and self._heartbeat.pid == worker.pid else None
        return is_stalled(mine, worker.spawned_ms, now_ms, self._settings.worker.stalled_s)

    def _wait(self, seconds: float) -> None:
        """Wait before the next start, not longer than until a pause."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._look(None):
            time.sleep(min(_LOOK_S, max(0.0, until - time.monotonic())))
