"""How many queries candidate search is given: a rate limit, and a bound on those that wait.

Stands before the search. The stream asks and waits, so over the limit it falls behind and drops nothing: what
it has not read waits in Kafka. The API asks and is refused, because its client can come again. The limit holds
for each process alone.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from neardup_platform.errors import RateExceeded, ServerUnavailable


class TokenBucket:
    """A rate limit with one second's burst; time is an argument.

    The leaky bucket as a meter of Turner 1986, "New directions in communications".

    Args:
        per_s: queries a second, above 0. The bucket holds so many, at least one, and begins full.
    """

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s)
        self._left = self._most
        self._at_s = now_s

    def take(self, queries: int, now_s: float) -> float:
        """Take queries in any case; returns the seconds after which they are within the limit."""
        self._refill(now_s)
        self._left -= queries
        return max(0.0, -self._left / self._per_s)

    def try_take(self, queries: int, now_s: float) -> float:
        """Take queries if they are within the limit; else returns the seconds after which they would be."""
        self._refill(now_s)
        if self._left < queries:
            return (queries - self._left) / self._per_s
        self._left -= queries
        return 0.0

    def _refill(self, now_s: float) -> None:
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s


class SearchGate:
    """Admits queries to the search; safe to use from several threads.

    Args:
        queries_per_s: the limit; None for none.
        max_waiting: queries of `queued` that may wait at once; those of `wait_for` count but are never refused.
        clock: seconds, never going back.
        sleep: waits so many seconds.
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
        """The largest micro-batch, up to `most`, that never waits longer than about a second."""
        return most if self._per_s is None else max(1, min(most, int(self._per_s)))

    def wait_for(self, queries: int) -> None:
        """Return when so many queries may run; every caller's turn comes, in order of asking."""
        with self._lock:
            wait_s = self._bucket.take(queries, self._clock()) if self._bucket else 0.0
            self._waiting += queries
        if wait_s > 0:
            self._sleep(wait_s)
        self._begin(queries, wait_s)

    @contextmanager
    def queued(self) -> Iterator[Callable[[], None]]:
        """Admit one query or refuse it at once.

        Yields:
            A function to call when the query's turn has come: until then, or the end of the block, it waits.

        Raises:
            RateExceeded: over the limit; says in how many seconds one query will be within it.
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

    def figures(self) -> dict[str, float]:
        """`search_queries` begun, `search_waited_ms` in all, `search_refused`, and `search_waiting` now."""
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
