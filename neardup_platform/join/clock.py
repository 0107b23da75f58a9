"""The clocks of the join: what counts as now for event times, and how far a partition that is quiet moves on.

Both go with a clock of the machine that nobody sets, and only drift towards the wall clock, by at most as much again as
time passes. So a wall clock that is set, or wrong for a while, makes no half late at once.

`now` bounds event times. It begins with the wall clock, for what lies in the log was sent while no worker ran, and it
counts the time in which the machine sleeps. `idle` is the moment at which a partition is known to have been read to its
end. It begins where the process before ended and counts only time in which a worker runs: whatever is done to the wall
clock, a half of a quiet stream is given at least half of its lateness of that. What it is behind `now` it catches up
with in as long again.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# By which share of the time passed it may go faster than that, behind the wall clock, and slower, ahead of it.
_FASTER, _SLOWER = 1.0, 0.5


def wall_clock_ms() -> float:
    """Unix milliseconds."""
    return time.time_ns() / 1e6


def running_ms() -> float:
    """Milliseconds that only a running machine counts, and nobody sets."""
    return time.monotonic_ns() / 1e6


def passed_ms() -> float:
    """Milliseconds that nobody sets, those in which the machine sleeps among them where it tells."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6 if hasattr(time, "CLOCK_BOOTTIME") else running_ms()


class JoinClock:
    """Unix milliseconds, for several threads.

    Args:
        start_ms: what it shows first; 0: begin with the wall clock.
        passed_ms: milliseconds since any moment, of a clock that nobody sets.
    """

    def __init__(
        self,
        start_ms: int = 0,
        wall_ms: Callable[[], float] = wall_clock_ms,
        passed_ms: Callable[[], float] = running_ms,
    ) -> None:
        self._wall_ms, self._passed_ms = wall_ms, passed_ms
        self._asked_ms = passed_ms()
        self._now_ms = float(start_ms) or wall_ms()
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """The time; it never goes back."""
        with self._lock:
            asked_ms = self._passed_ms()
            passed_ms, self._asked_ms = max(0.0, asked_ms - self._asked_ms), asked_ms
            gap_ms = self._wall_ms() - (self._now_ms + passed_ms)
            self._now_ms += passed_ms + min(max(gap_ms, -_SLOWER * passed_ms), _FASTER * passed_ms)
            return int(self._now_ms)


@dataclass(frozen=True, slots=True)
class JoinClocks:
    """The two clocks of a process.

    Attributes:
        now: event times count as no later.
        idle: up to which a partition moves on that has nothing more.
    """

    now: JoinClock
    idle: JoinClock

    @classmethod
    def begin(
        cls,
        newest_ms: int,
        wall_ms: Callable[[], float] = wall_clock_ms,
        running_ms: Callable[[], float] = running_ms,
        passed_ms: Callable[[], float] = passed_ms,
    ) -> "JoinClocks":
        """Those of a process that begins.

        Args:
            newest_ms: the newest clock of a partition in the store; 0: there is none.
        """
        return cls(JoinClock(0, wall_ms, passed_ms), JoinClock(newest_ms, wall_ms, running_ms))

    def behind_ms(self) -> int:
        """How far quiet partitions are behind, beside `join.idle_s`."""
        return max(0, self.now.now_ms() - self.idle.now_ms())
