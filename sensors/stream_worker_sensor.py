"""The sensor that keeps exactly one `stream_worker` run alive: it reads, asks `next_action`, and acts.

A run on this machine is judged by its process and the record in NEARDUP_HOME, so its end is seen at once. A run on
another machine, or with another NEARDUP_HOME, is judged by the signs of life that it leaves in the instance, or in the
record if the home is shared. How long the worker has not reported is recorded as a check of it.
"""

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

import dagster as dg
import psutil

from assets.stream_worker_checks import last_report_s, record_silence
from neardup_platform.supervise.next_action import Action, RunHeartbeat, RunView, Unreadable, next_action
from neardup_platform.supervise.run_record import RunRecord, read_record
from neardup_platform.supervise.silence import Listening
from resources.own_runs import location_label, own_run_records
from resources.pause_sign import paused_anywhere_by
from resources.platform import PlatformResource
from resources.sign_of_life import last_sign

JOB_NAME = "stream_worker"
# Of the worker's reports, among the signs of life of runs.
_REPORTS = "reports"

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
    "starts none while no Kafka broker answers. To stop the worker, launch the job pause_stream_worker: a run that "
    "is only terminated is replaced.",
)
def stream_worker_sensor(
    context: dg.SensorEvaluationContext, platform: PlatformResource
) -> dg.RunRequest | dg.SkipReason:
    """Check the runs, their signs of life and NEARDUP_HOME once."""
    home, now_s, stalled_s = platform.home(), time.time(), platform.stalled_s()
    runs, record = _runs(context.instance, location_label(context)), _read(lambda: read_record(home))
    paused = _read(lambda: paused_anywhere_by(context.instance, home))
    signs = _signs(context.instance, runs, record if isinstance(record, RunRecord) else None)
    if paused is None:
        signs[_REPORTS] = int(1_000 * last_report_s(context.instance))
    # Half at most: one look after a stop of the daemon is not enough to count a run as dead.
    listening = Listening.from_json(context.cursor).after(signs, now_s, stalled_s / 2)
    context.update_cursor(listening.to_json())
    record_silence(context.instance, listening.runs[_REPORTS].silent_s if paused is None else 0.0)
    heartbeats = record if isinstance(record, Unreadable) else _heartbeats(record, listening)
    action = next_action(runs, heartbeats, paused, now_s, stalled_s)
    _fail_dead_runs(context, action, record if isinstance(record, RunRecord) else None)
    if action.start is None:
        return dg.SkipReason(action.reason)
    missing = platform.missing_server()
    return dg.SkipReason(f"nothing started: {missing}") if missing else dg.RunRequest(run_key=action.start)


def _runs(instance: dg.DagsterInstance, label: str | None) -> tuple[RunView, ...]:
    """All active runs of the job and its newest other runs, newest first."""
    unfinished = own_run_records(instance, label, JOB_NAME, list(_STAGES))
    newest = own_run_records(instance, label, JOB_NAME, limit=12)
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


def _signs(instance: dg.DagsterInstance, runs: tuple[RunView, ...], record: RunRecord | None) -> dict[str, int]:
    """The last signs of runs on other machines, by run id: of active ones, and of those unknown to the instance.

    A run of another instance leaves its only sign in the record of a shared home.
    """
    active = {run.run_id for run in runs if run.stage != "finished"}
    signs = {sign.run_id: sign.at_ms for sign in [last_sign(instance)] if sign and sign.run_id in active}
    if record and not record.is_here() and (record.run_id in active or not instance.has_run(record.run_id)):
        signs[record.run_id] = max(record.at_ms, signs.get(record.run_id, 0))
    return signs


def _heartbeats(record: RunRecord | None, listening: Listening) -> dict[str, RunHeartbeat]:
    """By run id: what was heard of other machines, and of this one what the record and the list of processes say."""
    heard = {
        run_id: RunHeartbeat(listening.at_s - heard.silent_s, None)
        for run_id, heard in listening.runs.items()
        if run_id != _REPORTS
    }
    if record and record.is_here():
        heard[record.run_id] = RunHeartbeat(record.at_ms / 1_000, record.run.exists())
    return heard


def _fail_dead_runs(context: dg.SensorEvaluationContext, action: Action, record: RunRecord | None) -> None:
    """Mark dead runs as failed, after killing the process of a stalled one or having its launcher end it."""
    for run_id, why in action.dead:
        if record and record.run_id == run_id and record.is_here():
            if record.run.exists():
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(record.run.pid).kill()
        else:
            _terminate(context, run_id)
        run = context.instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            context.log.warning("run %s is replaced: %s", run_id, why)
            context.instance.report_run_failed(run, f"{why}; the sensor starts another run in its place")


def _terminate(context: dg.SensorEvaluationContext, run_id: str) -> None:
    """Have the launcher end what may be left of a run elsewhere: a pod, a task, a container."""
    try:
        context.instance.run_launcher.terminate(run_id)
    except Exception as error:  # noqa: BLE001 -- whatever the launcher raises, the run is replaced
        context.log.warning("the launcher cannot end run %s: %s", run_id, error)
