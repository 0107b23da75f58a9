"""Event times for images that are ingested: increasing, so that they are decided in the order in which they arrived."""

import time


class EventClock:
    """Unix milliseconds; `after` returns a later time at each call."""

    def __init__(self) -> None:
        self._last_ms = 0

    def __call__(self) -> int:
        """The current time."""
        return time.time_ns() // 1_000_000

    def after(self, other_ms: int) -> int:
        """A time later than `other_ms` and than any previous result."""
        self._last_ms = max(self._last_ms + 1, self(), other_ms + 1)
        return self._last_ms
