"""Telling work in another thread to stop."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Cancelled(Exception):
    """The work was stopped because nobody waits for it any more."""


class Cancellation:
    """May be cancelled once, from any thread; what is registered then is called."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._stop: Callable[[], None] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Stop what is being done, and whatever begins after."""
        with self._lock:
            self._cancelled = True
            if self._stop is not None:
                self._stop()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have `stop` called if it is cancelled before the block ends.

        Raises:
            Cancelled: it was already.
        """
        with self._lock:
            if self._cancelled:
                raise Cancelled
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None
