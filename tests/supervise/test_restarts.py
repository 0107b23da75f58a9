from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.supervise.heartbeat import Heartbeat, Phase
from neardup_platform.supervise.restarts import (
    EXIT_SETUP,
    HEALTHY_S,
    IMPORTS_S,
    MAX_DELAY_S,
    STALLED_START_S,
    Ended,
    crashes_in_a_row,
    delay_s,
    describe,
    is_stalled,
    stopped_badly,
)

SPAWNED_MS = 1_000_000


def ended(lived_s: float = 1.0, exit_code: int = 1, stalled: bool = False) -> Ended:
    return Ended(exit_code, lived_s, stalled, ("first line", "last line"))


def beat(age_s: float, now_ms: int, phase: Phase = Phase.RUNNING) -> Heartbeat:
    return Heartbeat(7, SPAWNED_MS, now_ms - int(age_s * 1_000), phase)


@given(st.integers(1, 200))
def test_delays_never_shrink_and_never_exceed_the_longest(crashes: int) -> None:
    assert delay_s(crashes, 1) <= delay_s(crashes + 1, 1) <= MAX_DELAY_S


def test_the_first_crash_is_followed_by_a_start_at_once() -> None:
    assert delay_s(crashes_in_a_row(0, ended()), 1) == 0
    assert delay_s(crashes_in_a_row(1, ended()), 1) == 1


def test_a_healthy_life_forgives_earlier_crashes() -> None:
    assert crashes_in_a_row(9, ended(lived_s=HEALTHY_S)) == 1
    assert crashes_in_a_row(9, ended(lived_s=HEALTHY_S - 1)) == 10


def test_wrong_settings_always_wait_longest() -> None:
    assert delay_s(1, EXIT_SETUP) == MAX_DELAY_S


def test_a_crash_is_told_with_its_signal_or_status_and_the_last_lines() -> None:
    assert "SIGKILL" in describe(ended(exit_code=-9), 0)
    assert "status 3" in describe(ended(exit_code=3), 0)
    assert "stalled" in describe(ended(exit_code=-9, stalled=True), 0)
    assert describe(ended(), 0).endswith("first line\nlast line")


def test_only_an_orderly_end_makes_a_planned_stop_clean() -> None:
    for running in (True, False):
        for code in (0, -15):
            assert stopped_badly(ended(exit_code=code), running) == ""
        assert "status 1" in stopped_badly(ended(exit_code=1), running)
        assert "stalled" in stopped_badly(ended(exit_code=0, stalled=True), running)
    assert "SIGKILL" in stopped_badly(ended(exit_code=-9), running=True)


def test_a_worker_that_is_killed_while_it_starts_makes_a_planned_stop_no_failure() -> None:
    assert stopped_badly(ended(exit_code=-9), running=False) == ""


@given(st.floats(0.1, 10_000), st.floats(1, 600))
def test_a_running_worker_is_stalled_exactly_when_its_heartbeat_is_too_old(age: float, limit: float) -> None:
    now_ms = SPAWNED_MS + 20_000_000
    age = round(age, 3)
    assert is_stalled(beat(age, now_ms), SPAWNED_MS, now_ms, limit) == (beat(age, now_ms).age_s(now_ms) > limit)


def stalled_after_s(beats_s: Sequence[float], lasts_s: float) -> float | None:
    """When the supervisor kills a starting worker that beats at these seconds; None where it never does."""
    for second in range(0, int(lasts_s), 10):
        heard = [at for at in beats_s if at <= second]
        last = beat(second - heard[-1], SPAWNED_MS + second * 1_000, Phase.STARTING) if heard else None
        if is_stalled(last, SPAWNED_MS, SPAWNED_MS + second * 1_000, 60):
            return second
    return None


def test_a_start_that_gets_on_is_never_killed_however_long_it_takes() -> None:
    ten_hours = range(5, 36_000, int(STALLED_START_S) - 60)
    assert stalled_after_s(ten_hours, 36_000) is None


def test_a_start_that_gets_on_no_more_is_killed() -> None:
    killed_s = stalled_after_s([5, 60, 100], 36_000)
    assert killed_s is not None
    assert 100 + STALLED_START_S <= killed_s <= 120 + STALLED_START_S


def test_the_heartbeat_of_an_earlier_process_with_the_same_number_counts_for_nothing() -> None:
    now_ms = SPAWNED_MS + 5_000
    assert not is_stalled(beat(3_600, now_ms), SPAWNED_MS, now_ms, 60)
    late_ms = SPAWNED_MS + int(IMPORTS_S * 1_000) + 1
    assert is_stalled(None, SPAWNED_MS, late_ms, 60)
