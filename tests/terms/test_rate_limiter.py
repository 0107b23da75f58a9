import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.errors import RateExceeded, ServerUnavailable
from neardup_platform.terms.rate_limiter import SearchLimiter


class Clock:
    """A clock that moves only by sleeping and by assigning `now`."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def limiter_of(per_s: float | None, max_waiting: int = 10) -> tuple[SearchLimiter, Clock]:
    clock = Clock()
    return SearchLimiter(per_s, max_waiting, clock, clock.sleep), clock


def asked(limiter: SearchLimiter) -> None:
    with limiter.queued() as begin:
        begin()


def test_without_a_limit_nothing_waits() -> None:
    limiter, clock = limiter_of(None)
    for _ in range(100):
        limiter.wait_for(1_000)
        asked(limiter)
    assert not clock.slept
    assert limiter.batch(64) == 64


def test_a_burst_of_one_second_passes_at_once_and_the_rest_at_the_rate() -> None:
    limiter, clock = limiter_of(10)
    limiter.wait_for(10)
    assert not clock.slept
    limiter.wait_for(5)
    assert clock.slept == [0.5]
    limiter.wait_for(1)
    assert clock.slept == pytest.approx([0.5, 0.1])


def test_a_batch_larger_than_the_burst_waits_and_is_not_dropped() -> None:
    limiter, clock = limiter_of(2)
    limiter.wait_for(64)
    assert clock.slept == [31.0]
    assert limiter.metrics() == {
        "search_queries": 64,
        "search_waited_ms": 31_000.0,
        "search_refused": 0,
        "search_waiting": 0,
    }


@given(
    per_s=st.floats(0.1, 1_000),
    batches=st.lists(st.tuples(st.integers(1, 200), st.floats(0, 5)), min_size=1, max_size=30),
)
def test_at_most_the_rate_and_one_burst_start_and_no_wait_is_longer_than_needed(
    per_s: float, batches: list[tuple[int, float]]
) -> None:
    limiter, clock = limiter_of(per_s)
    begun_s, total = clock.now, 0
    burst = max(1.0, per_s)
    for queries, pause_s in batches:
        clock.now += pause_s
        waits = len(clock.slept)
        limiter.wait_for(queries)
        total += queries
        allowed = burst + (clock.now - begun_s) * per_s
        assert total <= allowed * (1 + 1e-9) + 1e-6
        assert sum(clock.slept[waits:]) <= queries / per_s + 1e-9
    assert limiter.metrics()["search_queries"] == total


@given(per_s=st.floats(0.1, 500), most=st.integers(1, 4_096))
def test_a_micro_batch_of_the_limiters_size_waits_for_a_second_at_most_unless_the_rate_is_below_one(
    per_s: float, most: int
) -> None:
    limiter, clock = limiter_of(per_s)
    assert 1 <= limiter.batch(most) <= most
    for _ in range(3):
        limiter.wait_for(limiter.batch(most))
    assert max(clock.slept, default=0) <= max(1, 1 / per_s) + 1e-9


def test_a_query_over_the_limit_is_refused_with_the_time_to_retry() -> None:
    limiter, clock = limiter_of(4)
    for _ in range(4):
        asked(limiter)
    with pytest.raises(RateExceeded, match=r"4 searches a second \(terms\.max_queries_per_s\).*0\.25 s") as refused:
        asked(limiter)
    assert refused.value.retry_s == pytest.approx(0.25)
    assert not clock.slept
    clock.now += refused.value.retry_s
    asked(limiter)
    assert (limiter.metrics()["search_queries"], limiter.metrics()["search_refused"]) == (5, 1)


def test_a_refusal_uses_no_allowance() -> None:
    limiter, clock = limiter_of(1)
    asked(limiter)
    for _ in range(50):
        with pytest.raises(RateExceeded):
            asked(limiter)
    clock.now += 1
    asked(limiter)


def test_a_query_beyond_the_waiting_limit_is_refused_until_another_starts() -> None:
    limiter, clock = limiter_of(None, max_waiting=2)
    with limiter.queued() as begin_first, limiter.queued():
        assert limiter.metrics()["search_waiting"] == 2
        with pytest.raises(ServerUnavailable, match=r"2 searches wait already \(terms\.max_waiting_queries\)"):
            asked(limiter)
        clock.now += 3
        begin_first()
        asked(limiter)
        assert limiter.metrics() == {
            "search_queries": 2,
            "search_waited_ms": 3_000.0,
            "search_refused": 1,
            "search_waiting": 1,
        }


def test_a_query_abandoned_while_waiting_no_longer_counts() -> None:
    limiter, _ = limiter_of(None, max_waiting=1)
    for _ in range(3):
        with pytest.raises(ConnectionError), limiter.queued():
            raise ConnectionError
    assert limiter.metrics()["search_waiting"] == limiter.metrics()["search_queries"] == 0


def test_a_full_queue_uses_no_allowance() -> None:
    limiter, _ = limiter_of(2, max_waiting=1)
    with limiter.queued() as begin:
        with pytest.raises(ServerUnavailable):
            asked(limiter)
        begin()
        asked(limiter)


def test_the_stream_counts_as_waiting_and_is_never_refused() -> None:
    clock = Clock()
    seen: list[float] = []

    def sleep(seconds: float) -> None:
        seen.append(limiter.metrics()["search_waiting"])
        clock.sleep(seconds)

    limiter = SearchLimiter(1, 1, clock, sleep)
    with limiter.queued():
        limiter.wait_for(5)
    assert seen == [6]


def test_waiting_threads_stay_within_the_rate() -> None:
    """Real clock and real sleep: 32 queries at 20 a second, 20 of them at once."""
    limiter = SearchLimiter(20, 1)
    begun_s = time.monotonic()
    run(8, lambda: [limiter.wait_for(1) for _ in range(4)])
    assert time.monotonic() - begun_s >= (32 - 20) / 20
    assert limiter.metrics()["search_queries"] == 32
    assert limiter.metrics()["search_waiting"] == 0


def test_concurrent_queries_get_exactly_the_burst() -> None:
    limiter = SearchLimiter(0.001, 1_000)
    refused = []

    def ask() -> None:
        for _ in range(200):
            try:
                asked(limiter)
            except RateExceeded as error:
                refused.append(error)

    run(8, ask)
    assert limiter.metrics()["search_queries"] == 1
    assert len(refused) == limiter.metrics()["search_refused"] == 1_599


def run(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
