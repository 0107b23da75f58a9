"""Claims about the clocks of the join, whatever happens to the wall clock."""

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.clock import ManualClock
from neardup_platform.join.clock import JoinClock, JoinClocks

TRUE_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def running(clock: ManualClock, start_ms: int = 0) -> JoinClock:
    return JoinClock(clock.now_ms, clock.monotonic_s, start_ms)


def test_it_follows_a_wall_clock_that_is_left_alone() -> None:
    clock = ManualClock(TRUE_MS)
    join_clock = running(clock)
    for _ in range(100):
        clock.advance(997)
        assert abs(join_clock.now_ms() - clock.now_ms()) <= 1


def test_a_wall_clock_set_an_hour_ahead_for_a_minute_advances_it_by_one_more_minute() -> None:
    clock = ManualClock(TRUE_MS)
    join_clock = running(clock)
    clock.set(clock.now_ms() + HOUR_MS)
    for _ in range(60):
        clock.advance(1_000)
        join_clock.now_ms()
    clock.set(clock.now_ms() - HOUR_MS)
    assert join_clock.now_ms() == TRUE_MS + 120_000
    for _ in range(240):
        clock.advance(1_000)
        join_clock.now_ms()
    assert abs(join_clock.now_ms() - clock.now_ms()) <= 1


def test_a_wall_clock_set_back_slows_it_down_and_never_turns_it_back() -> None:
    clock = ManualClock(TRUE_MS)
    join_clock = running(clock)
    clock.set(clock.now_ms() - 20 * HOUR_MS)
    before = join_clock.now_ms()
    for _ in range(60):
        clock.advance(1_000)
        assert join_clock.now_ms() > before
        before = join_clock.now_ms()
    assert before == TRUE_MS + 30_000


def test_after_a_night_of_sleep_it_runs_at_twice_the_speed_until_it_has_caught_up() -> None:
    clock = ManualClock(TRUE_MS)
    join_clock = running(clock)
    clock.sleep(8 * HOUR_MS)
    assert join_clock.now_ms() == TRUE_MS
    clock.advance(600_000)
    assert join_clock.now_ms() == TRUE_MS + 1_200_000


def test_a_restart_continues_from_the_store_and_not_from_a_wrong_wall_clock() -> None:
    clock = ManualClock(TRUE_MS + HOUR_MS)
    join_clock = running(clock, start_ms=TRUE_MS)
    assert join_clock.now_ms() == TRUE_MS
    clock.advance(10_000)
    assert join_clock.now_ms() == TRUE_MS + 20_000


def test_a_night_of_sleep_counts_for_event_times_and_not_against_unpaired_embeddings() -> None:
    clock = ManualClock(TRUE_MS)
    clocks = JoinClocks.start(clock, TRUE_MS)
    clock.sleep(8 * HOUR_MS)
    assert clocks.now.now_ms() == TRUE_MS + 8 * HOUR_MS
    assert clocks.idle.now_ms() == TRUE_MS
    assert clocks.behind_ms() == 8 * HOUR_MS


def test_hours_without_a_worker_count_for_event_times() -> None:
    """Otherwise what was sent then would count as sent now, and reading one topic first would make the other late."""
    clock = ManualClock(TRUE_MS)
    clocks = JoinClocks.start(clock, TRUE_MS - 10 * HOUR_MS)
    assert (clocks.now.now_ms(), clocks.idle.now_ms()) == (TRUE_MS, TRUE_MS - 10 * HOUR_MS)
    for _ in range(100):
        clock.advance(1_000)
        clocks.idle.now_ms()
    assert clocks.behind_ms() == 10 * HOUR_MS - 100_000


STEPS = st.lists(
    st.tuples(st.sampled_from(["run", "sleep", "set", "restart"]), st.integers(-3 * HOUR_MS, 3 * HOUR_MS)), max_size=40
)


@given(STEPS)
def test_it_runs_at_most_at_twice_the_speed_of_the_machine_and_never_back(steps: list[tuple[str, int]]) -> None:
    clock = ManualClock(TRUE_MS)
    join_clock = running(clock)
    shown = first = join_clock.now_ms()
    for what, ms in steps:
        if what == "run":
            clock.advance(abs(ms) % 60_000)
        elif what == "sleep":
            clock.sleep(abs(ms))
        elif what == "set":
            clock.set(clock.now_ms() + ms)
        else:
            join_clock = running(clock, start_ms=shown)
        assert join_clock.now_ms() >= shown
        shown = join_clock.now_ms()
    assert shown - first <= 2_000 * clock.monotonic_s() + len(steps)
