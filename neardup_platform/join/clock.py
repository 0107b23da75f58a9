"""The clocks of the join: the present for event times, and how far an idle partition advances.

Both run with a clock of the machine that nobody sets and drift towards the wall clock, by at most as much again as time
passes. So setting the wall clock, or running it wrong for a while, makes no embedding late at once.

`now` bounds event times. It starts at the wall clock, because producers may have sent messages while no worker ran, and
it counts the time the machine sleeps. `idle` is the moment up to which a fully read partition counts as read. It starts
where the previous process ended and counts only time in which a worker runs: whatever happens to the wall clock, an
unpaired embedding of a quiet stream gets at least half of its lateness of such time. Where `idle` is behind `now`, it
takes as long as the difference to catch up.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from neardup_platform.clock import Clock

# How much faster than time passes it may run while behind the wall clock, and how much slower while ahead of it.
_FASTER, _SLOWER = 1.0, 0.5


class JoinClock:
    """Unix milliseconds that drift towards the wall clock; safe to use from several threads.

    Args:
        wall_ms: the wall clock, Unix milliseconds.
        elapsed_s: seconds since an arbitrary moment, from a clock that nobody sets.
        start_ms: the time at the start; 0 starts at the wall clock.
    """

    def __init__(self, wall_ms: Callable[[], int], elapsed_s: Callable[[], float], start_ms: int = 0) -> None:
        self._wall_ms, self._elapsed_s = wall_ms, elapsed_s
        self._read_s = elapsed_s()
        self._now_ms = float(start_ms or wall_ms())
        self._lock = threading.Lock()

    def now_ms(self) -> int:
        """The time; it never goes back."""
        with self._lock:
            read_s = self._elapsed_s()
            passed_ms, self._read_s = max(0.0, 1_000 * (read_s - self._read_s)), read_s
            gap_ms = self._wall_ms() - (self._now_ms + passed_ms)
            self._now_ms += passed_ms + min(max(gap_ms, -_SLOWER * passed_ms), _FASTER * passed_ms)
            return round(self._now_ms)


@dataclass(frozen=True, slots=True)
class JoinClocks:
    """The two clocks of a process.

    Attributes:
        now: no event time counts as later than this.
        idle: the moment to which a partition with nothing left to read advances.
    """

    now: JoinClock
    idle: JoinClock

    @classmethod
    def start(cls, clock: Clock, newest_ms: int) -> "JoinClocks":
        """The clocks of a process that starts.

        Args:
            newest_ms: the newest partition clock in the store; 0 where the store has none.
        """
        return cls(JoinClock(clock.now_ms, clock.boottime_s), JoinClock(clock.now_ms, clock.monotonic_s, newest_ms))

    def behind_ms(self) -> int:
        """How far idle partitions are behind, in addition to `join.idle_s`."""
        return max(0, self.now.now_ms() - self.idle.now_ms())
