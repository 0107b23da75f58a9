"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

_PAUSE_S = 0.02


def eventually(
    condition: Callable[[], Found],
    why: str | Callable[[], object] = "the condition does not hold",
    timeout_s: float = 180.0,
) -> Found:
    """Calls a condition until it returns something true, which it returns.

    Args:
        condition: called every 20 ms; what it raises ends the wait.
        why: what is wrong if it does not, or a function that describes the state found; part of the error.
        timeout_s: how long to wait.

    Raises:
        AssertionError: the condition was still false after the timeout.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {why() if callable(why) else why}")
        time.sleep(_PAUSE_S)
    return found
