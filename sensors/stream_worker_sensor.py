"""The sensor that keeps exactly one `stream_worker` run alive: it reads, asks `next_action`, and acts."""

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

import dagster as dg
import psutil

from neardup_platform.supervise.heartbeat import paused_by
from neardup_platform.supervise.next_action import Action, RunHeartbeat, RunView, Unreadable, next_action
from neardup_platform.supervise.run_record import RunRecord, read_record
from resources.platform import PlatformResource

JOB_NAME = "stream_worker"

_STAGES = {
    dg.DagsterRunStatus.QUEUED: "queued",
    dg.DagsterRunStatus.NOT_STARTED: "launching",
    dg.DagsterRunStatus.MANAGED: "launching",
    dg.DagsterRunStatus.STARTING: "launching",
    dg.DagsterRunStatus.STARTED: "started",
    dg.DagsterRunStatus.CANCELING: "started",
}
_T = TypeVar("_T")


@dg.sensor(
    job_name=JOB_NAME,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps exactly one stream_worker run alive, replaces a dead or stalled one, respects a pause, and "
    "starts none while no Kafka broker answers. To stop the worker, launch the job `pause_stream_worker`: a run that "
    "is only terminated is replaced.",
)
def stream_worker_sensor(
    context: dg.SensorEvaluationContext, platform: PlatformResource
) -> dg.RunRequest | dg.SkipReason:
    """Check the runs and NEARDUP_HOME once."""
    home = platform.home()
    record = _read(lambda: read_record(home))
    action = next_action(
        _runs(context.instance),
        record if isinstance(record, Unreadable) else _heartbeat(record),
        _read(lambda: paused_by(home)),
        time.time(),
        platform.stalled_s(),
    )
    _fail_dead_runs(context, action, record if isinstance(record, RunRecord) else None)
    if action.start is None:
        return dg.SkipReason(action.reason)
    missing = platform.missing_server()
    return dg.SkipReason(f"nothing started: {missing}") if missing else dg.RunRequest(run_key=action.start)


def _runs(instance: dg.DagsterInstance) -> tuple[RunView, ...]:
    """All active runs of the job and its newest other runs, newest first."""
    unfinished = instance.get_run_records(dg.RunsFilter(job_name=JOB_NAME, statuses=list(_STAGES)))
    newest = instance.get_run_records(dg.RunsFilter(job_name=JOB_NAME), limit=12)
    records = {record.dagster_run.run_id: record for record in (*unfinished, *newest)}
    return tuple(sorted((_view(r) for r in records.values()), key=lambda run: run.created_s, reverse=True))


def _view(record: dg.RunRecord) -> RunView:
    run, created_s = record.dagster_run, record.create_timestamp.timestamp()
    stage = _STAGES.get(run.status, "started" if not run.is_finished else "finished")
    since_s = {
        "queued": created_s,
        "launching": record.update_timestamp.timestamp(),
        "started": record.start_time or created_s,
        "finished": record.end_time or created_s,
    }[stage]
    return RunView(run.run_id, stage, run.status is dg.DagsterRunStatus.FAILURE, created_s, since_s)  # type: ignore[arg-type]


def _read(read: Callable[[], _T]) -> _T | Unreadable:
    try:
        return read()
    except (OSError, ValueError, KeyError) as error:
        return Unreadable(repr(error))


def _heartbeat(record: RunRecord | None) -> RunHeartbeat | None:
    return RunHeartbeat(record.run_id, record.at_ms / 1_000, record.run.exists()) if record else None


def _fail_dead_runs(context: dg.SensorEvaluationContext, action: Action, record: RunRecord | None) -> None:
    """Mark dead runs as failed, after killing the process of a stalled one."""
    for run_id, why in action.dead:
        if record and record.run_id == run_id and record.run.exists():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(record.run.pid).kill()
        run = context.instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            context.log.warning("run %s is replaced: %s", run_id, why)
            context.instance.report_run_failed(run, f"{why}; the sensor starts another run in its place")
