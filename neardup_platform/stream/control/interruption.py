"""Ends the preparation of a command early, because the command is cancelled."""

import threading

from neardup_platform.errors import BadCommand


class Interruption:
    """Set from another thread, checked by the preparation."""

    def __init__(self) -> None:
        self._set = threading.Event()

    def clear(self) -> None:
        """Begin the preparation of another command."""
        self._set.clear()

    def interrupt(self) -> None:
        """Make the next `check` raise."""
        self._set.set()

    @property
    def is_set(self) -> bool:
        """Whether the next `check` raises."""
        return self._set.is_set()

    def wait(self, seconds: float) -> None:
        """Wait, no longer than until it is set."""
        self._set.wait(seconds)

    def check(self) -> None:
        """Continue, unless it is set.

        Raises:
            BadCommand: it is set.
        """
        if self._set.is_set():
            raise BadCommand("it was cancelled")
