import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.errors import RateExceeded, ServerUnavailable
from neardup_platform.terms.rate_limiter import SearchGate


class Clock:
    """A clock that only sleeping and `now` move."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def gate_of(per_s: float | None, max_waiting: int = 10) -> tuple[SearchGate, Clock]:
    clock = Clock()
    return SearchGate(per_s, max_waiting, clock, clock.sleep), clock


def asked(gate: SearchGate) -> None:
    with gate.queued() as begin:
        begin()


def test_without_a_limit_nothing_waits() -> None:
    gate, clock = gate_of(None)
    for _ in range(100):
        gate.wait_for(1_000)
        asked(gate)
    assert not clock.slept
    assert gate.batch(64) == 64


def test_one_second_of_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    gate, clock = gate_of(10)
    gate.wait_for(10)
    assert not clock.slept
    gate.wait_for(5)
    assert clock.slept == [0.5]
    gate.wait_for(1)
    assert clock.slept == pytest.approx([0.5, 0.1])


def test_a_batch_larger_than_the_burst_waits_and_is_not_dropped() -> None:
    gate, clock = gate_of(2)
    gate.wait_for(64)
    assert clock.slept == [31.0]
    assert gate.figures() == {
        "search_queries": 64,
        "search_waited_ms": 31_000.0,
        "search_refused": 0,
        "search_waiting": 0,
    }


@given(
    per_s=st.floats(0.1, 1_000),
    batches=st.lists(st.tuples(st.integers(1, 200), st.floats(0, 5)), min_size=1, max_size=30),
)
def test_never_more_than_the_rate_and_one_burst_have_begun_and_waits_are_no_longer_than_that_needs(
    per_s: float, batches: list[tuple[int, float]]
) -> None:
    gate, clock = gate_of(per_s)
    begun_s, total = clock.now, 0
    burst = max(1.0, per_s)
    for queries, pause_s in batches:
        clock.now += pause_s
        waits = len(clock.slept)
        gate.wait_for(queries)
        total += queries
        allowed = burst + (clock.now - begun_s) * per_s
        assert total <= allowed * (1 + 1e-9) + 1e-6
        assert sum(clock.slept[waits:]) <= queries / per_s + 1e-9
    assert gate.figures()["search_queries"] == total


@given(per_s=st.floats(0.1, 500), most=st.integers(1, 4_096))
def test_a_micro_batch_of_the_gates_size_waits_a_second_at_most_unless_the_rate_is_below_one(
    per_s: float, most: int
) -> None:
    gate, clock = gate_of(per_s)
    assert 1 <= gate.batch(most) <= most
    for _ in range(3):
        gate.wait_for(gate.batch(most))
    assert max(clock.slept, default=0) <= max(1, 1 / per_s) + 1e-9


def test_over_the_limit_a_query_is_refused_and_told_when_it_would_not_be() -> None:
    gate, clock = gate_of(4)
    for _ in range(4):
        asked(gate)
    with pytest.raises(RateExceeded, match=r"4 searches a second \(terms\.max_queries_per_s\).*0\.25 s") as refused:
        asked(gate)
    assert refused.value.retry_s == pytest.approx(0.25)
    assert not clock.slept
    clock.now += refused.value.retry_s
    asked(gate)
    assert (gate.figures()["search_queries"], gate.figures()["search_refused"]) == (5, 1)


def test_a_refusal_costs_no_allowance() -> None:
    gate, clock = gate_of(1)
    asked(gate)
    for _ in range(50):
        with pytest.raises(RateExceeded):
            asked(gate)
    clock.now += 1
    asked(gate)


def test_one_more_than_may_wait_is_refused_until_another_begins() -> None:
    gate, clock = gate_of(None, max_waiting=2)
    with gate.queued() as begin_first, gate.queued():
        assert gate.figures()["search_waiting"] == 2
        with pytest.raises(ServerUnavailable, match=r"2 searches wait already \(terms\.max_waiting_queries\)"):
            asked(gate)
        clock.now += 3
        begin_first()
        asked(gate)
        assert gate.figures() == {
            "search_queries": 2,
            "search_waited_ms": 3_000.0,
            "search_refused": 1,
            "search_waiting": 1,
        }


def test_a_query_that_is_given_up_while_it_waits_waits_no_longer() -> None:
    gate, _ = gate_of(None, max_waiting=1)
    for _ in range(3):
        with pytest.raises(ConnectionError), gate.queued():
            raise ConnectionError
    assert gate.figures()["search_waiting"] == gate.figures()["search_queries"] == 0


def test_a_full_queue_costs_no_allowance() -> None:
    gate, _ = gate_of(2, max_waiting=1)
    with gate.queued() as begin:
        with pytest.raises(ServerUnavailable):
            asked(gate)
        begin()
        asked(gate)


def test_the_stream_is_seen_waiting_and_is_never_refused_for_others_that_wait() -> None:
    clock = Clock()
    seen: list[float] = []

    def sleep(seconds: float) -> None:
        seen.append(gate.figures()["search_waiting"])
        clock.sleep(seconds)

    gate = SearchGate(1, 1, clock, sleep)
    with gate.queued():
        gate.wait_for(5)
    assert seen == [6]


def test_threads_that_wait_take_turns_within_the_rate() -> None:
    """Real clock and real sleep: 32 queries at 20 a second, 20 of them at once."""
    gate = SearchGate(20, 1)
    begun_s = time.monotonic()
    run(8, lambda: [gate.wait_for(1) for _ in range(4)])
    assert time.monotonic() - begun_s >= (32 - 20) / 20
    assert gate.figures()["search_queries"] == 32
    assert gate.figures()["search_waiting"] == 0


def test_threads_that_ask_get_exactly_the_burst() -> None:
    gate = SearchGate(0.001, 1_000)
    refused = []

    def ask() -> None:
        for _ in range(200):
            try:
                asked(gate)
            except RateExceeded as error:
                refused.append(error)

    run(8, ask)
    assert gate.figures()["search_queries"] == 1
    assert len(refused) == gate.figures()["search_refused"] == 1_599


def run(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
