"""The time of a call: the median of repeated ones, after those that compile or warm up."""

import time
from collections.abc import Callable
from statistics import median

_WARM_UP = 2
_LEAST_CALLS, _MOST_CALLS = 3, 200
_LEAST_S = 1.0


def median_seconds(call: Callable[[int], object]) -> float:
    """Call until the calls have taken a second; there are 3 to 200 of them.

    Args:
        call: gets the number of the call, so that each can have its own input; returns once its result is there.
    """
    seconds: list[float] = []
    for number in range(_WARM_UP + _MOST_CALLS):
        started_s = time.perf_counter()
        call(number)
        if number >= _WARM_UP:
            seconds.append(time.perf_counter() - started_s)
        if len(seconds) >= _LEAST_CALLS and sum(seconds) >= _LEAST_S:
            break
    return median(seconds)
