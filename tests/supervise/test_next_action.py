from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.supervise.next_action import (
    BACKOFF,
    FAST_FAILURE_S,
    GRACE_S,
    LAUNCH_S,
    RunHeartbeat,
    RunView,
    Unreadable,
    next_action,
)

NOW = 1_000_000.0
STALLED_S = 60.0


def run(run_id: str = "a", stage: str = "started", age_s: float = 500.0, failed: bool = False) -> RunView:
    return RunView(run_id, stage, failed, NOW - age_s, NOW - age_s)  # type: ignore[arg-type]


def beat(run_id: str = "a", age_s: float = 1.0, process_exists: bool | None = True) -> dict[str, RunHeartbeat]:
    return {run_id: RunHeartbeat(NOW - age_s, process_exists)}


def failed_fast(count: int, ended_ago_s: float) -> tuple[RunView, ...]:
    """Newest first, as the sensor reads them."""
    return tuple(run(str(n), "finished", ended_ago_s + n, failed=True) for n in range(count))


runs = st.lists(
    st.builds(
        run,
        st.text("abcdef", min_size=1, max_size=2),
        st.sampled_from(["queued", "launching", "started", "finished"]),
        st.floats(0, 1_000),
        st.booleans(),
    ),
    max_size=6,
    unique_by=lambda view: view.run_id,
).map(tuple)
heartbeats = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=2),
    st.builds(RunHeartbeat, st.floats(NOW - 500, NOW), st.none() | st.booleans()),
    max_size=3,
)


def test_without_any_run_the_first_is_started() -> None:
    assert next_action((), {}, None, NOW, STALLED_S).start == "first"


def test_a_run_that_is_alive_is_not_replaced() -> None:
    action = next_action((run(),), beat(), None, NOW, STALLED_S)
    assert (action.start, action.dead) == (None, ())


@given(runs, heartbeats)
def test_a_run_is_started_only_when_every_active_one_is_dead(
    given_runs: tuple[RunView, ...], heartbeat: dict[str, RunHeartbeat]
) -> None:
    action = next_action(given_runs, heartbeat, None, NOW, STALLED_S)
    active = {view.run_id for view in given_runs if view.stage != "finished"}
    dead = {run_id for run_id, _ in action.dead}
    assert dead <= active
    if action.start:
        assert dead == active
    else:
        assert action.reason


@given(runs, heartbeats)
def test_during_a_pause_nothing_is_started_and_its_author_is_named(
    given_runs: tuple[RunView, ...], heartbeat: dict[str, RunHeartbeat]
) -> None:
    action = next_action(given_runs, heartbeat, "Ada", NOW, STALLED_S)
    assert action.start is None
    assert "Ada" in action.reason
    assert "resume_stream_worker" in action.reason


@given(runs)
def test_an_unreadable_heartbeat_does_not_mean_that_the_run_is_dead(given_runs: tuple[RunView, ...]) -> None:
    action = next_action(given_runs, Unreadable("disk on fire"), None, NOW, STALLED_S)
    assert action.dead == ()
    if any(view.stage != "finished" for view in given_runs):
        assert action.start is None
        assert "disk on fire" in action.reason


def test_an_unreadable_pause_starts_nothing() -> None:
    assert next_action((), {}, Unreadable("broken"), NOW, STALLED_S).start is None


def test_a_run_whose_process_is_gone_is_replaced_immediately() -> None:
    action = next_action((run(),), beat(process_exists=False), None, NOW, STALLED_S)
    assert action.dead == (("a", "its process is gone"),)
    assert action.start == "after-a"


def test_a_stalled_run_is_replaced_only_after_the_limit() -> None:
    assert next_action((run(),), beat(age_s=STALLED_S - 1), None, NOW, STALLED_S).start is None
    action = next_action((run(),), beat(age_s=STALLED_S + 1), None, NOW, STALLED_S)
    assert action.start == "after-a"
    assert "stalled" in action.dead[0][1]


def test_a_run_on_another_machine_is_judged_by_its_signs_of_life_alone() -> None:
    assert next_action((run(),), beat(age_s=STALLED_S - 1, process_exists=None), None, NOW, STALLED_S).dead == ()
    silent = next_action((run(),), beat(age_s=STALLED_S + 1, process_exists=None), None, NOW, STALLED_S)
    assert silent.start == "after-a"


def test_a_run_that_has_just_started_needs_no_heartbeat_yet() -> None:
    other = beat("older", process_exists=False)
    assert next_action((run(age_s=GRACE_S - 1),), other, None, NOW, STALLED_S).start is None
    assert next_action((run(age_s=GRACE_S + 1),), other, None, NOW, STALLED_S).start == "after-a"


def test_queued_and_launching_runs_count_as_active() -> None:
    for stage in ("queued", "launching"):
        assert next_action((run(stage=stage, age_s=20),), {}, None, NOW, STALLED_S).start is None
    assert next_action((run(stage="queued", age_s=1e6),), {}, None, NOW, STALLED_S).start is None
    assert next_action((run(stage="launching", age_s=LAUNCH_S + 1),), {}, None, NOW, STALLED_S).start


def test_runs_that_fail_fast_are_replaced_more_and_more_slowly() -> None:
    assert next_action(failed_fast(1, 0.0), {}, None, NOW, STALLED_S).start == "after-0"
    waiting = next_action(failed_fast(4, 3.0), {}, None, NOW, STALLED_S)
    assert waiting.start is None
    assert "run 0" in waiting.reason
    assert next_action(failed_fast(4, BACKOFF.delay_s(4) + 1), {}, None, NOW, STALLED_S).start == "after-0"


def test_a_run_that_lived_or_succeeded_resets_the_count_of_failures() -> None:
    newest, *older = failed_fast(6, 0.0)
    lived = replace(newest, created_s=newest.since_s - FAST_FAILURE_S - 1)
    succeeded = replace(newest, failed=False)
    for first in (lived, succeeded):
        assert next_action((first, *older), {}, None, NOW, STALLED_S).start == "after-0"


@given(runs, heartbeats)
def test_the_same_situation_requests_the_same_run(
    given_runs: tuple[RunView, ...], heartbeat: dict[str, RunHeartbeat]
) -> None:
    first = next_action(given_runs, heartbeat, None, NOW, STALLED_S)
    again = next_action(given_runs, heartbeat, None, NOW, STALLED_S)
    assert first == again
    if first.start and given_runs:
        assert first.start == f"after-{given_runs[0].run_id}"
