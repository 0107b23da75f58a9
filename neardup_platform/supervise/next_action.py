"""The next step of the stream worker's sensor: a pure function of what the sensor has read.

The run watches the worker process and restarts it immediately; the sensor watches the run. Where the run's process can
be seen, it is looked for; elsewhere the run's signs of life count. A failed read is `Unreadable`, which means neither
"nothing there" nor "all is well": it is no reason to start or end anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from neardup_platform.supervise.backoff import Backoff

# A run that ends this soon after its creation has failed fast, and the next one waits.
FAST_FAILURE_S = 60.0
# After fast failures in a row: 0, 5, 10, 20 … 300 s.
BACKOFF = Backoff(first_s=5.0, max_s=300.0, immediate=1)
# From STARTED to the first heartbeat: a few imports and at most 10 s of waiting for the lock.
GRACE_S = 60.0
# From being created or dequeued to STARTED. Dagster's run monitoring, if enabled, gives up earlier.
LAUNCH_S = 180.0


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A read that failed, and why."""

    detail: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run of the job. Times are Unix seconds.

    Attributes:
        stage: queued (waits for a slot), launching (no process of its own has reported), started, or finished.
        failed: finished, and neither succeeded nor canceled.
        since_s: when the run entered its stage; for a finished run, when it ended.
    """

    run_id: str
    stage: Literal["queued", "launching", "started", "finished"]
    failed: bool
    created_s: float
    since_s: float


@dataclass(frozen=True, slots=True)
class RunHeartbeat:
    """The last sign of life of a run, and whether its process exists; None if that is on another machine."""

    at_s: float
    process_exists: bool | None


@dataclass(frozen=True, slots=True)
class Action:
    """What to do, in this order: mark `dead` runs (id, reason) as failed, then start a run with the key `start`.

    Attributes:
        start: key of the run to request, or None. It names the previous run, so two evaluations of the same situation
            request the same run, once.
        reason: for the operator, if nothing is started.
    """

    dead: tuple[tuple[str, str], ...] = ()
    start: str | None = None
    reason: str = ""


def next_action(
    runs: tuple[RunView, ...],
    heartbeats: Mapping[str, RunHeartbeat] | Unreadable,
    paused: str | Unreadable | None,
    now_s: float,
    stalled_s: float,
) -> Action:
    """Keep exactly one run alive, unless paused.

    Args:
        runs: the job's runs, newest first; every unfinished run must be among them.
        heartbeats: the last one of each run that has left any, by run id.
        paused: who paused the worker; None if it is not paused.
        now_s: the current time, Unix seconds.
        stalled_s: age of a heartbeat above which its run counts as stalled.
    """
    active = [run for run in runs if run.stage != "finished"]
    if isinstance(heartbeats, Unreadable) and active:
        return Action(reason=f"nothing changed, because the run's heartbeat is unreadable: {heartbeats.detail}")
    readable = {} if isinstance(heartbeats, Unreadable) else heartbeats
    verdicts = [(run.run_id, _death(run, readable.get(run.run_id), now_s, stalled_s)) for run in active]
    dead = tuple((run_id, why) for run_id, why in verdicts if why)
    alive = [run_id for run_id, why in verdicts if not why]
    if isinstance(paused, Unreadable):
        return Action(dead, reason=f"nothing started, because the pause is unreadable: {paused.detail}")
    if paused is not None:
        return Action(dead, reason=_paused(paused, alive))
    supervised = f"run {alive[0]} is active" if alive else _other_supervisor(readable, dict(dead), now_s, stalled_s)
    if supervised:
        return Action(dead, reason=supervised)
    failures = fast_failures(runs)
    wait_s = runs[0].since_s + BACKOFF.delay_s(failures) - now_s if runs else 0.0
    if failures and wait_s > 0:
        return Action(
            dead,
            reason=f"the last {failures} runs failed within {FAST_FAILURE_S:.0f} s, see run "
            f"{runs[0].run_id}: next try in {wait_s:.0f} s",
        )
    return Action(dead, start=f"after-{runs[0].run_id}" if runs else "first")


def fast_failures(runs: tuple[RunView, ...]) -> int:
    """The number of newest runs in a row that failed soon after they were created."""
    count = 0
    for run in runs:
        if not run.failed or run.since_s - run.created_s > FAST_FAILURE_S:
            break
        count += 1
    return count


def _death(run: RunView, heartbeat: RunHeartbeat | None, now_s: float, stalled_s: float) -> str:
    """Why an active run counts as dead; empty if it does not."""
    in_stage_s = now_s - run.since_s
    if run.stage == "queued":
        return ""
    if run.stage == "launching":
        return f"not started after {in_stage_s:.0f} s" if in_stage_s > LAUNCH_S else ""
    if heartbeat is None:
        return f"no heartbeat {in_stage_s:.0f} s after its start" if in_stage_s > GRACE_S else ""
    if heartbeat.process_exists is False:
        return "its process is gone"
    age_s = now_s - heartbeat.at_s
    return f"stalled: last heartbeat {age_s:.0f} s ago" if age_s > stalled_s else ""


def _other_supervisor(
    heartbeats: Mapping[str, RunHeartbeat], dead: Mapping[str, str], now_s: float, stalled_s: float
) -> str:
    """A message if another run sends heartbeats: one that is ending, or one of another Dagster instance. Else empty."""
    for run_id, heartbeat in heartbeats.items():
        alive = heartbeat.process_exists is not False and now_s - heartbeat.at_s <= stalled_s
        if alive and run_id not in dead:
            return f"run {run_id} still supervises the worker of this home"
    return ""


def _paused(by: str, alive: list[str]) -> str:
    ending = f" Run {alive[0]} is ending." if alive else ""
    return f"paused by {by}.{ending} To continue, launch the job resume_stream_worker or delete paused.json."
