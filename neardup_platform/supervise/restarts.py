"""When a worker process counts as stalled, and how long to wait before the next one: pure functions."""

import signal
from dataclasses import dataclass

from neardup_platform.supervise.backoff import HEALTHY_S, Backoff
from neardup_platform.supervise.heartbeat import Heartbeat, Phase

# EX_CONFIG of sysexits.h: something that the worker needs is missing, damaged or misconfigured.
EXIT_SETUP = 78
BACKOFF = Backoff(first_s=1.0, max_s=60.0, immediate=1)
# From the start of the process to its first heartbeat: TensorFlow is imported.
IMPORTS_S = 120.0
# A starting worker writes a heartbeat whenever it makes progress, however long the start takes. Only single steps lie
# between two heartbeats: opening the store, loading the TensorFlow libraries, loading a classifier.
STALLED_START_S = 1_800.0


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """How a worker process ended.

    Attributes:
        exit_code: as `subprocess` reports it: negative for a signal.
        lived_s: seconds from start to end.
        stalled: whether it was killed because its heartbeat had stopped.
        last_lines: the last lines of its output.
    """

    exit_code: int
    lived_s: float
    stalled: bool
    last_lines: tuple[str, ...]


def crashes_in_a_row(earlier: int, exited: WorkerExit) -> int:
    """The number of consecutive crashes, this one included, after `earlier` ones."""
    return 1 if exited.lived_s >= HEALTHY_S else earlier + 1


def delay_s(crashes: int, exit_code: int) -> float:
    """Seconds to wait before the next start: 0 after one crash, then 1, 2, 4 … 60.

    Wrong settings do not correct themselves: after `EXIT_SETUP` the delay is always the longest.
    """
    return BACKOFF.max_s if exit_code == EXIT_SETUP else BACKOFF.delay_s(crashes)


def is_stalled(heartbeat: Heartbeat | None, spawned_ms: int, now_ms: int, stalled_s: float) -> bool:
    """Whether a worker process has been silent for too long.

    Args:
        heartbeat: the last one of this very process; None before its first.
        spawned_ms: when the process was started. An older heartbeat belongs to an earlier process with the same id.
        now_ms: the current time; all times are Unix milliseconds.
        stalled_s: how long a running worker may stay silent.
    """
    if heartbeat is None or heartbeat.at_ms < spawned_ms:
        return now_ms - spawned_ms > max(stalled_s, IMPORTS_S) * 1_000
    allowed_s = max(stalled_s, STALLED_START_S) if heartbeat.phase is Phase.STARTING else stalled_s
    return heartbeat.age_s(now_ms) > allowed_s


def describe_crash(exited: WorkerExit, delay: float) -> str:
    """A message about a crash: what happened, what happens next, and the last lines of output."""
    return f"{_how(exited)}; next start in {delay:.0f} s. {_last_lines(exited)}"


def describe_exit(exited: WorkerExit) -> str:
    """A message about a worker that crashed and is not started again: what happened, and the last lines of output."""
    return f"{_how(exited)}. {_last_lines(exited)}"


def unclean_stop(exited: WorkerExit, running: bool) -> str:
    """What went wrong with a worker that was asked to stop; empty if it stopped cleanly.

    Args:
        running: whether it had started to work. One that still loads its models notices a stop late and may be killed.
    """
    clean = (0, -signal.SIGTERM) if running else (0, -signal.SIGTERM, -signal.SIGKILL)
    return "" if not exited.stalled and exited.exit_code in clean else describe_exit(exited)


def _how(exited: WorkerExit) -> str:
    how = "stalled and was killed" if exited.stalled else _exit(exited.exit_code)
    return f"the worker process {how} after running for {exited.lived_s:.0f} s"


def _last_lines(exited: WorkerExit) -> str:
    lines = "\n".join(exited.last_lines) or "(no output)"
    return f"Last lines:\n{lines}"


def _exit(code: int) -> str:
    if code == EXIT_SETUP:
        return f"exited with status {code} (something is missing, damaged or misconfigured)"
    if code >= 0:
        return f"exited with status {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was killed by {names.get(-code, f'signal {-code}')}"
