from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.supervise.backoff import HEALTHY_S
from neardup_platform.supervise.heartbeat import Heartbeat, Phase
from neardup_platform.supervise.restarts import (
    BACKOFF,
    EXIT_SETUP,
    IMPORTS_S,
    STALLED_START_S,
    WorkerExit,
    crashes_in_a_row,
    delay_s,
    describe_crash,
    is_stalled,
    unclean_stop,
)

SPAWNED_MS = 1_000_000


def exited(lived_s: float = 1.0, exit_code: int = 1, stalled: bool = False) -> WorkerExit:
    return WorkerExit(exit_code, lived_s, stalled, ("first line", "last line"))


def beat(age_s: float, now_ms: int, phase: Phase = Phase.RUNNING) -> Heartbeat:
    return Heartbeat(7, SPAWNED_MS, now_ms - int(age_s * 1_000), phase)


def test_the_first_crash_is_followed_by_an_immediate_start() -> None:
    assert delay_s(crashes_in_a_row(0, exited()), 1) == 0
    assert delay_s(crashes_in_a_row(1, exited()), 1) == 1


def test_after_a_healthy_minute_earlier_crashes_no_longer_count() -> None:
    assert crashes_in_a_row(9, exited(lived_s=HEALTHY_S)) == 1
    assert crashes_in_a_row(9, exited(lived_s=HEALTHY_S - 1)) == 10


def test_wrong_settings_always_wait_for_the_longest_delay() -> None:
    assert delay_s(1, EXIT_SETUP) == BACKOFF.max_s


def test_a_crash_is_reported_with_its_signal_or_status_and_the_last_lines() -> None:
    assert "SIGKILL" in describe_crash(exited(exit_code=-9), 0)
    assert "status 3" in describe_crash(exited(exit_code=3), 0)
    assert "stalled" in describe_crash(exited(exit_code=-9, stalled=True), 0)
    assert describe_crash(exited(), 0).endswith("first line\nlast line")


def test_only_a_clean_exit_makes_a_planned_stop_clean() -> None:
    for running in (True, False):
        for code in (0, -15):
            assert unclean_stop(exited(exit_code=code), running) == ""
        assert "status 1" in unclean_stop(exited(exit_code=1), running)
        assert "stalled" in unclean_stop(exited(exit_code=0, stalled=True), running)
    assert "SIGKILL" in unclean_stop(exited(exit_code=-9), running=True)


def test_killing_a_starting_worker_does_not_make_a_planned_stop_a_failure() -> None:
    assert unclean_stop(exited(exit_code=-9), running=False) == ""


@given(st.floats(0.1, 10_000), st.floats(1, 600))
def test_a_running_worker_is_stalled_exactly_when_its_heartbeat_is_too_old(age: float, limit: float) -> None:
    now_ms = SPAWNED_MS + 20_000_000
    age = round(age, 3)
    assert is_stalled(beat(age, now_ms), SPAWNED_MS, now_ms, limit) == (beat(age, now_ms).age_s(now_ms) > limit)


def stalled_after_s(beats_s: Sequence[float], lasts_s: float) -> float | None:
    """The second at which a starting worker with these heartbeats is killed; None if it never is."""
    for second in range(0, int(lasts_s), 10):
        heard = [at for at in beats_s if at <= second]
        last = beat(second - heard[-1], SPAWNED_MS + second * 1_000, Phase.STARTING) if heard else None
        if is_stalled(last, SPAWNED_MS, SPAWNED_MS + second * 1_000, 60):
            return second
    return None


def test_a_start_that_makes_progress_is_never_killed_however_long_it_takes() -> None:
    ten_hours = range(5, 36_000, int(STALLED_START_S) - 60)
    assert stalled_after_s(ten_hours, 36_000) is None


def test_a_start_that_stops_making_progress_is_killed() -> None:
    killed_s = stalled_after_s([5, 60, 100], 36_000)
    assert killed_s is not None
    assert 100 + STALLED_START_S <= killed_s <= 120 + STALLED_START_S


def test_the_heartbeat_of_an_earlier_process_with_the_same_id_is_ignored() -> None:
    now_ms = SPAWNED_MS + 5_000
    assert not is_stalled(beat(3_600, now_ms), SPAWNED_MS, now_ms, 60)
    late_ms = SPAWNED_MS + int(IMPORTS_S * 1_000) + 1
    assert is_stalled(None, SPAWNED_MS, late_ms, 60)
