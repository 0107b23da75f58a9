"""Reporting how far a long start has come."""

from collections.abc import Callable

# Called with what is being done, how much of it is done, and how much there is; 0, 0 where that is unknown.
Progress = Callable[[str, int, int], None]


def no_progress(_doing: str, _done: int, _of: int) -> None:
    """Report to nobody."""
