"""Progress reports of a long start."""

from collections.abc import Callable

# Called with the current step, the amount done, and the total; 0, 0 if the amounts are unknown.
Progress = Callable[[str, int, int], None]


def no_progress(_doing: str, _done: int, _of: int) -> None:
    """Discard the report."""
