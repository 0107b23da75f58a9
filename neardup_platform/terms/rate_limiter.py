"""The rate limiter of candidate search, with a bound on waiting queries.

Over the limit the stream waits: it falls behind and drops nothing, because unread messages stay in Kafka. The API is
refused instead, because its client can retry. Each process has its own limit.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from neardup_platform.errors import RateExceeded, ServerUnavailable


class TokenBucket:
    """A rate limit with a burst of one second; time is an argument.

    The leaky bucket as a meter of Turner 1986, "New directions in communications".

    Args:
        per_s: queries a second, above 0. The bucket holds that many, at least one, and starts full.
        now_s: the clock, seconds.
    """

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s)
        self._left = self._most
        self._at_s = now_s

    def take(self, queries: int, now_s: float) -> float:
        """Takes queries in any case; returns the seconds until they are within the limit."""
        self._refill(now_s)
        self._left -= queries
        return max(0.0, -self._left / self._per_s)

    def try_take(self, queries: int, now_s: float) -> float:
        """Takes queries if they are within the limit; otherwise returns the seconds until they would be."""
        self._refill(now_s)
        if self._left < queries:
            return (queries - self._left) / self._per_s
        self._left -= queries
        return 0.0

    def _refill(self, now_s: float) -> None:
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s


class SearchLimiter:
    """Admits queries to the search; safe to use from several threads.

    Args:
        queries_per_s: the limit; None for no limit.
        max_waiting: queries of `queued` that may wait at once; those of `wait_for` count but are never refused.
        clock: returns seconds and never goes back.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        queries_per_s: float | None,
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._per_s = queries_per_s
        self._bucket = TokenBucket(queries_per_s, clock()) if queries_per_s is not None else None
        self._max_waiting = max_waiting
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._queries = self._refused = self._waiting = 0
        self._waited_s = 0.0

    def batch(self, most: int) -> int:
        """Returns the largest micro-batch, up to `most`, that waits for about a second at most."""
        return most if self._per_s is None else max(1, min(most, int(self._per_s)))

    def wait_for(self, queries: int) -> None:
        """Waits until the queries may run; callers take turns in the order of their calls."""
        with self._lock:
            wait_s = self._bucket.take(queries, self._clock()) if self._bucket else 0.0
            self._waiting += queries
        if wait_s > 0:
            self._sleep(wait_s)
        self._begin(queries, wait_s)

    @contextmanager
    def queued(self) -> Iterator[Callable[[], None]]:
        """Admits one query or refuses it at once.

        Yields:
            A function to call when the query starts: until then, or the end of the block, it counts as waiting.

        Raises:
            RateExceeded: over the limit; the error says after how many seconds one query will be within it.
            ServerUnavailable: `max_waiting` queries wait already.
        """
        asked_s = self._clock()
        self._admit(asked_s)
        begun = False

        def begin() -> None:
            nonlocal begun
            begun = True
            self._begin(1, self._clock() - asked_s)

        try:
            yield begin
        finally:
            if not begun:
                with self._lock:
                    self._waiting -= 1

    def metrics(self) -> dict[str, float]:
        """Returns the totals `search_queries` started, `search_waited_ms`, `search_refused`; `search_waiting` now."""
        with self._lock:
            return {
                "search_queries": self._queries,
                "search_waited_ms": round(1_000 * self._waited_s, 1),
                "search_refused": self._refused,
                "search_waiting": self._waiting,
            }

    def _admit(self, now_s: float) -> None:
        with self._lock:
            if self._waiting >= self._max_waiting:
                self._refused += 1
                raise ServerUnavailable(
                    f"{self._waiting} searches wait already (terms.max_waiting_queries): try again later"
                )
            retry_s = self._bucket.try_take(1, now_s) if self._bucket else 0.0
            if retry_s > 0:
                self._refused += 1
                raise RateExceeded(
                    f"more than {self._per_s:g} searches a second (terms.max_queries_per_s): "
                    f"try again in {retry_s:.2g} s",
                    retry_s,
                )
            self._waiting += 1

    def _begin(self, queries: int, waited_s: float) -> None:
        with self._lock:
            self._waiting -= queries
            self._queries += queries
            self._waited_s += waited_s
