"""When a worker process counts as stalled, and how long to wait before the next one: pure functions."""

import signal
from dataclasses import dataclass

from neardup_platform.supervise.heartbeat import Heartbeat, Phase

# EX_CONFIG of sysexits.h: something that the worker needs here is missing, damaged or set wrongly.
EXIT_SETUP = 78
# A worker that lived this long is forgiven its earlier crashes.
HEALTHY_S = 60.0
MAX_DELAY_S = 60.0
# From the start of the process to its first heartbeat: TensorFlow is imported.
IMPORTS_S = 120.0
# A starting worker writes a heartbeat whenever it gets on, however long the start takes. Between two of them there are
# at most single steps: to open the store, to load TensorFlow's libraries or a classifier.
STALLED_START_S = 1_800.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a worker process ended.

    Attributes:
        exit_code: as `subprocess` gives it: negative for a signal.
        lived_s: seconds from start to end.
        stalled: it was killed because its heartbeat had stopped.
        last_lines: the last lines it wrote.
    """

    exit_code: int
    lived_s: float
    stalled: bool
    last_lines: tuple[str, ...]


def crashes_in_a_row(before: int, ended: Ended) -> int:
    """How many crashes count, this one included, given how many counted before it."""
    return 1 if ended.lived_s >= HEALTHY_S else before + 1


def delay_s(crashes: int, exit_code: int) -> float:
    """Seconds to wait before the next start: 0 after one crash, then 1, 2, 4 … 60.

    Wrong settings do not mend themselves: after `EXIT_SETUP` it is always the longest wait.
    """
    if exit_code == EXIT_SETUP:
        return MAX_DELAY_S
    return 0.0 if crashes < 2 else float(min(MAX_DELAY_S, 2 ** min(crashes - 2, 10)))


def is_stalled(heartbeat: Heartbeat | None, spawned_ms: int, now_ms: int, stalled_s: float) -> bool:
    """Whether a worker process has been silent for too long; a start that gets on never has.

    Args:
        heartbeat: the last one of this very process; None before its first.
        spawned_ms: when it was started. An older heartbeat is of an earlier process with the same number.
        now_ms: the clock; times are Unix milliseconds.
        stalled_s: silence allowed to a running worker.
    """
    if heartbeat is None or heartbeat.at_ms < spawned_ms:
        return now_ms - spawned_ms > max(stalled_s, IMPORTS_S) * 1_000
    allowed_s = max(stalled_s, STALLED_START_S) if heartbeat.phase is Phase.STARTING else stalled_s
    return heartbeat.age_s(now_ms) > allowed_s


def describe(ended: Ended, delay: float) -> str:
    """One message per crash: what happened, what happens next, and the last lines."""
    return f"{_how(ended)}; next start in {delay:.0f} s. {_last_lines(ended)}"


def failing(ended: Ended) -> str:
    """What was wrong with a worker that was down, waiting for its next start, when it was to stop."""
    return f"{_how(ended)}. {_last_lines(ended)}"


def stopped_badly(ended: Ended, running: bool) -> str:
    """What went wrong with a worker that was to stop: empty where it ended in order.

    Args:
        running: whether it had begun to work. One that still loads its models hears of a stop late and may be killed.
    """
    in_order = (0, -signal.SIGTERM) if running else (0, -signal.SIGTERM, -signal.SIGKILL)
    return "" if not ended.stalled and ended.exit_code in in_order else failing(ended)


def _how(ended: Ended) -> str:
    how = "stalled and was killed" if ended.stalled else _exit(ended.exit_code)
    return f"the worker process {how} after {ended.lived_s:.0f} s"


def _last_lines(ended: Ended) -> str:
    lines = "\n".join(ended.last_lines) or "(it wrote nothing)"
    return f"Last lines:\n{lines}"


def _exit(code: int) -> str:
    if code == EXIT_SETUP:
        return f"ended with status {code} (something is missing, damaged or wrongly set)"
    if code >= 0:
        return f"ended with status {code}"
    names = {number.value: number.name for number in signal.Signals}
    return f"was ended by {names.get(-code, f'signal {-code}')}"
