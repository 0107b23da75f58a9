"""Time as an argument, so that a function's result depends on its arguments alone and a test can set the time.

Whatever decides, records or measures takes a `Clock`, or the time itself as `now_ms`. Only the edges create
`SystemClock`: the command line, the Dagster folders, the API.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from. Every method may be called from any thread."""

    def now_ms(self) -> int:
        """Wall-clock time, Unix milliseconds. It goes back when the machine's clock is set back."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment. It never goes back and stops while the machine sleeps."""

    def boottime_s(self) -> float:
        """As `monotonic_s`, but it counts the time the machine sleeps, where the system reports it."""


class SystemClock:
    """The clocks of this machine."""

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def boottime_s(self) -> float:
        """See `Clock`."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class ManualClock:
    """A clock that moves only when a test moves it.

    Args:
        now_ms: the wall clock at the start, Unix milliseconds.
    """

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._running_ms = self._elapsed_ms = 0

    def now_ms(self) -> int:
        """See `Clock`."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return self._running_ms / 1_000

    def boottime_s(self) -> float:
        """See `Clock`."""
        return self._elapsed_ms / 1_000

    def advance(self, ms: int) -> None:
        """Let time pass while the machine runs."""
        self._running_ms += ms
        self.sleep(ms)

    def sleep(self, ms: int) -> None:
        """Let time pass while the machine sleeps."""
        self._elapsed_ms += ms
        self._now_ms += ms

    def set(self, now_ms: int) -> None:
        """Set the wall clock; no time passes."""
        self._now_ms = now_ms
