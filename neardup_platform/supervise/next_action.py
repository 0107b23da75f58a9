"""What the stream worker's sensor does next: a pure function of what it has read.

The run watches the worker process and restarts it at once; the sensor watches the run. A read that failed is
`Unreadable`, which is neither "nothing there" nor "all is well": nothing is started or ended on its strength.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# A run that ends within this many seconds of being created has failed fast: the next one waits.
FAST_FAILURE_S = 60.0
MAX_DELAY_S = 300.0
# From STARTED to the first sign of life: a few imports and at most 10 s of waiting for the lock.
GRACE_S = 60.0
# From being created or dequeued to STARTED. Dagster's run monitoring, where enabled, gives up before.
LAUNCH_S = 180.0


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A read that failed, and why."""

    detail: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run of the job. Times are Unix seconds.

    Attributes:
        stage: queued (waits for a slot), launching (no process of its own has reported), begun, or over.
        failed: over, and by failure: not succeeded, not canceled.
        since_s: when the run entered its stage; for one that is over, when it ended.
    """

    run_id: str
    stage: Literal["queued", "launching", "begun", "over"]
    failed: bool
    created_s: float
    since_s: float


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """The supervising run's record, and whether its process exists on this machine."""

    run_id: str
    at_s: float
    process_exists: bool


@dataclass(frozen=True, slots=True)
class Action:
    """What to do, in this order: mark `dead` runs (id, why) failed, then start a run under `start`.

    Attributes:
        start: key of the run to request, or None. It names the run it follows, so that two evaluations of
            the same situation request the same run, once.
        reason: for the operator, where nothing is started.
    """

    dead: tuple[tuple[str, str], ...] = ()
    start: str | None = None
    reason: str = ""


def next_action(
    runs: tuple[RunView, ...],
    sign: SignOfLife | Unreadable | None,
    paused: str | Unreadable | None,
    now_s: float,
    stalled_s: float,
) -> Action:
    """Keep exactly one run alive, unless paused.

    Args:
        runs: the job's runs, newest first; every run that is not over must be among them.
        sign: the last sign of life of a supervising run; None where there never was one.
        paused: who paused the worker; None when it is not paused.
        now_s: the clock, Unix seconds.
        stalled_s: age of a sign of life from which its run counts as stalled.
    """
    active = [run for run in runs if run.stage != "over"]
    if isinstance(sign, Unreadable) and active:
        return Action(reason=f"left as it is, because the run's sign of life is unreadable: {sign.detail}")
    verdicts = [(run.run_id, _death(run, sign, now_s, stalled_s)) for run in active]
    dead = tuple((run_id, why) for run_id, why in verdicts if why)
    alive = [run_id for run_id, why in verdicts if not why]
    if isinstance(paused, Unreadable):
        return Action(dead, reason=f"nothing started, because the pause is unreadable: {paused.detail}")
    if paused is not None:
        return Action(dead, reason=_paused(paused, alive))
    supervised = f"run {alive[0]} is active" if alive else _supervised_elsewhere(sign, dict(dead), now_s, stalled_s)
    if supervised:
        return Action(dead, reason=supervised)
    failures = fast_failures(runs)
    wait_s = runs[0].since_s + delay_s(failures) - now_s if runs else 0.0
    if failures and wait_s > 0:
        return Action(
            dead,
            reason=f"the last {failures} runs failed within {FAST_FAILURE_S:.0f} s, see run "
            f"{runs[0].run_id}: next try in {wait_s:.0f} s",
        )
    return Action(dead, start=f"after-{runs[0].run_id}" if runs else "first")


def fast_failures(runs: tuple[RunView, ...]) -> int:
    """How many of the newest runs, without a break, failed soon after they were created."""
    count = 0
    for run in runs:
        if not run.failed or run.since_s - run.created_s > FAST_FAILURE_S:
            break
        count += 1
    return count


def delay_s(failures: int) -> float:
    """Seconds to wait after so many fast failures in a row: 0, 0, 5, 10, 20 … 300."""
    return 0.0 if failures < 2 else min(MAX_DELAY_S, 5.0 * 2 ** min(failures - 2, 10))


def _death(run: RunView, sign: SignOfLife | Unreadable | None, now_s: float, stalled_s: float) -> str:
    """Why an active run counts as dead; empty while it does not."""
    in_stage_s = now_s - run.since_s
    if run.stage == "queued":
        return ""
    if run.stage == "launching":
        return f"not started after {in_stage_s:.0f} s" if in_stage_s > LAUNCH_S else ""
    if not isinstance(sign, SignOfLife) or sign.run_id != run.run_id:
        return f"no sign of life {in_stage_s:.0f} s after it began" if in_stage_s > GRACE_S else ""
    if not sign.process_exists:
        return "its process is gone"
    age_s = now_s - sign.at_s
    return f"stalled: last sign of life {age_s:.0f} s ago" if age_s > stalled_s else ""


def _supervised_elsewhere(
    sign: SignOfLife | Unreadable | None, dead: Mapping[str, str], now_s: float, stalled_s: float
) -> str:
    """Who else gives signs of life, empty where nobody does: a run that is ending, or one of another Dagster."""
    if not isinstance(sign, SignOfLife) or sign.run_id in dead:
        return ""
    alive = sign.process_exists and now_s - sign.at_s <= stalled_s
    return f"run {sign.run_id} still supervises the worker of this home" if alive else ""


def _paused(by: str, alive: list[str]) -> str:
    ending = f" Run {alive[0]} is ending." if alive else ""
    return f"paused by {by}.{ending} To go on, launch the job resume_stream_worker or delete paused.json."
