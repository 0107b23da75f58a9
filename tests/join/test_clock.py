"""Claims about the clocks of the join, whatever happens to the wall clock."""

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.join.clock import JoinClock, JoinClocks

TRUE_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


class Machine:
    """Its wall clock may be set; while it sleeps the clock of what it runs stands still."""

    def __init__(self) -> None:
        self.wall_ms = float(TRUE_MS)
        self.running_ms = self.passed_ms = 0.0

    def run(self, ms: float) -> None:
        self.sleep(ms)
        self.running_ms += ms

    def sleep(self, ms: float) -> None:
        self.wall_ms += ms
        self.passed_ms += ms

    def clock(self, start_ms: int = 0) -> JoinClock:
        return JoinClock(start_ms, lambda: self.wall_ms, lambda: self.running_ms)

    def clocks(self, newest_ms: int) -> JoinClocks:
        return JoinClocks.begin(newest_ms, lambda: self.wall_ms, lambda: self.running_ms, lambda: self.passed_ms)


def test_undisturbed_it_shows_the_wall_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(100):
        machine.run(997)
        assert abs(clock.now_ms() - machine.wall_ms) <= 1


def test_wall_clock_set_an_hour_ahead_for_a_minute_moves_it_by_a_minute_more() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ms += HOUR_MS
    for _ in range(60):
        machine.run(1_000)
        clock.now_ms()
    machine.wall_ms -= HOUR_MS
    assert clock.now_ms() == TRUE_MS + 120_000
    for _ in range(240):
        machine.run(1_000)
        clock.now_ms()
    assert abs(clock.now_ms() - machine.wall_ms) <= 1


def test_wall_clock_set_back_slows_it_down_and_never_turns_it() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall_ms -= 20 * HOUR_MS
    before = clock.now_ms()
    for _ in range(60):
        machine.run(1_000)
        assert clock.now_ms() > before
        before = clock.now_ms()
    assert before == TRUE_MS + 30_000


def test_after_a_night_of_sleep_it_catches_up_as_fast_again_as_time_passes() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.sleep(8 * HOUR_MS)
    assert clock.now_ms() == TRUE_MS
    machine.run(600_000)
    assert clock.now_ms() == TRUE_MS + 1_200_000


def test_a_restart_goes_on_from_what_the_store_knows_not_from_a_wall_clock_that_is_wrong() -> None:
    machine = Machine()
    machine.wall_ms += HOUR_MS
    clock = machine.clock(start_ms=TRUE_MS)
    assert clock.now_ms() == TRUE_MS
    machine.run(10_000)
    assert clock.now_ms() == TRUE_MS + 20_000


def test_a_night_of_sleep_is_over_for_event_times_and_gives_waiting_halves_their_time() -> None:
    machine = Machine()
    clocks = machine.clocks(TRUE_MS)
    machine.sleep(8 * HOUR_MS)
    assert clocks.now.now_ms() == TRUE_MS + 8 * HOUR_MS
    assert clocks.idle.now_ms() == TRUE_MS
    assert clocks.behind_ms() == 8 * HOUR_MS


def test_hours_in_which_no_worker_ran_are_over_for_event_times() -> None:
    """Or what was sent in them would count as sent now, and one topic read ahead of the other makes halves late."""
    machine = Machine()
    clocks = machine.clocks(TRUE_MS - 10 * HOUR_MS)
    assert (clocks.now.now_ms(), clocks.idle.now_ms()) == (TRUE_MS, TRUE_MS - 10 * HOUR_MS)
    for _ in range(100):
        machine.run(1_000)
        clocks.idle.now_ms()
    assert clocks.behind_ms() == 10 * HOUR_MS - 100_000


STEPS = st.lists(
    st.tuples(st.sampled_from(["run", "sleep", "set", "restart"]), st.integers(-3 * HOUR_MS, 3 * HOUR_MS)), max_size=40
)


@given(STEPS)
def test_it_goes_at_most_twice_as_fast_as_the_machine_runs_and_never_back(steps: list[tuple[str, int]]) -> None:
    machine = Machine()
    clock = machine.clock()
    shown = first = clock.now_ms()
    for what, ms in steps:
        if what == "run":
            machine.run(abs(ms) % 60_000)
        elif what == "sleep":
            machine.sleep(abs(ms))
        elif what == "set":
            machine.wall_ms += ms
        else:
            clock = machine.clock(start_ms=shown)
        assert clock.now_ms() >= shown
        shown = clock.now_ms()
    assert shown - first <= 2 * machine.running_ms + len(steps)
