"""The clock of the join: what counts as now for event times and for lateness.

It goes with the machine's monotonic clock and only drifts towards the wall clock, by at most as much again as time
passes. So a wall clock that is set, or wrong for a while, makes no half late at once: whatever is done to it, a half is
given at least half of its lateness while the worker runs. Of the time in which no worker ran, or the machine slept, it
knows by the wall clock alone, and catches up with it no faster.
"""

import threading
import time
from collections.abc import Callable

# By which share of the time passed it may go faster than that, behind the wall clock, and slower, ahead of it.
_FASTER, _SLOWER = 1.0, 0.5


def wall_clock_ms() -> float:
    """Unix milliseconds."""
    return time.time_ns() / 1e6


def monotonic_ms() -> float:
    """Milliseconds that only a running machine counts, and nobody sets."""
    return time.monotonic_ns() / 1e6


class JoinClock:
    """Unix milliseconds, for several threads.

    Args:
        start_ms: what it showed when the process before ended, as far as it is known; 0: begin with the wall clock.
    """

    def __init__(
        self,
        start_ms: int = 0,
        wall_ms: Callable[[], float] = wall_clock_ms,
        passed_ms: Callable[[], float] = monotonic_ms,
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

    def behind_ms(self) -> int:
        """How far the wall clock is ahead of it; negative where it is behind."""
        now_ms = self.now_ms()
        return int(self._wall_ms()) - now_ms
