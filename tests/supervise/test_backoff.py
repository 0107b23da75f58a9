"""Back-off: delays that double up to a limit, for servers, worker processes and runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.supervise import next_action, restarts, supervisor
from neardup_platform.supervise.backoff import Backoff

USERS = {"servers": supervisor.BACKOFF, "worker": restarts.BACKOFF, "runs": next_action.BACKOFF}


@pytest.mark.parametrize(
    ("user", "delays_s"),
    [
        ("servers", [0.5, 1, 2, 4, 8, 16, 30, 30]),
        ("worker", [0, 1, 2, 4, 8, 16, 32, 60, 60]),
        ("runs", [0, 5, 10, 20, 40, 80, 160, 300, 300]),
    ],
)
def test_delays_double_up_to_the_limit(user: str, delays_s: list[float]) -> None:
    assert [USERS[user].delay_s(failures) for failures in range(1, len(delays_s) + 1)] == delays_s


@given(st.integers(0, 10**9), st.floats(0.001, 100), st.floats(100, 10_000), st.integers(0, 5))
def test_delays_never_shrink_and_never_exceed_the_limit(
    failures: int, first_s: float, max_s: float, immediate: int
) -> None:
    backoff = Backoff(first_s, max_s, immediate)
    assert 0 <= backoff.delay_s(failures) <= backoff.delay_s(failures + 1) <= max_s


@given(st.integers(0, 5))
def test_only_the_first_failures_are_retried_immediately(immediate: int) -> None:
    backoff = Backoff(1.0, 60.0, immediate)
    assert all(backoff.delay_s(failures) == 0 for failures in range(immediate + 1))
    assert backoff.delay_s(immediate + 1) == 1
