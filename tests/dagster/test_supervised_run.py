"""The job `stream_worker` with real processes: a run in one, a small worker in another, and signals."""

import itertools
import logging
import os
import signal
import time

import dagster as dg
import pytest

from neardup_platform.supervise.heartbeat import pause, read_heartbeat
from neardup_platform.testing import eventually
from tests.dagster.supervised import SupervisedRun, alive

pytestmark = pytest.mark.slow


def test_a_killed_worker_is_restarted_immediately_and_its_exit_is_reported(supervised: SupervisedRun) -> None:
    run = supervised.start("steady")
    (first, _) = supervised.await_starts(1)[0]
    os.kill(first, signal.SIGKILL)
    (second, _) = supervised.await_starts(2)[1]
    eventually(lambda: alive(second))
    assert not alive(first)
    assert supervised.logged().count("was killed by SIGKILL") == 1
    assert "next start in 0 s" in supervised.logged()
    assert run.poll() is None


def test_a_pause_ends_the_run_with_success_and_the_worker_with_it(supervised: SupervisedRun) -> None:
    run = supervised.start("steady")
    (worker, _) = supervised.await_starts(1)[0]
    pause(supervised.home, by="the test")
    assert run.wait(timeout=180) == 0
    assert not alive(worker)
    assert len(supervised.worker_starts()) == 1


def test_figures_become_one_observation_while_nothing_changes_and_the_log_of_the_run_stays_short(
    supervised: SupervisedRun,
) -> None:
    run = supervised.start("steady")
    supervised.await_starts(1)
    eventually(lambda: len(supervised.observations()) > 0, supervised.log_tail)
    # Judged twice a second or so, and the same each time.
    time.sleep(4)
    pause(supervised.home, by="the test")
    run.wait(timeout=180)
    (seen,) = supervised.observations()
    assert {name: value.value for name, value in seen.metadata.items()} == {"images": 12, "p99_ms": 345.5}
    logged = supervised.run_log()
    assert len(logged) == 2
    assert all(level == logging.INFO for level, _ in logged)


def test_a_check_is_recorded_when_its_verdict_changes_and_names_the_next_step(supervised: SupervisedRun) -> None:
    run = supervised.start("steady")
    for number, problem in enumerate((0.0, 1.0, 0.0), start=1):
        supervised.measures(index_problem=problem)
        eventually(lambda: len(supervised.checks("writes_its_index")) == number, supervised.log_tail)  # noqa: B023
    pause(supervised.home, by="the test")
    run.wait(timeout=180)
    first, broken, mended = supervised.checks("writes_its_index")
    assert [first.passed, broken.passed, mended.passed] == [True, False, True]
    assert broken.severity is dg.AssetCheckSeverity.ERROR
    assert "cannot be written" in broken.description
    assert "The disk is full" in broken.metadata["next_step"].value
    assert [check.passed for check in supervised.checks("keeps_up")] == [True], "recorded once, for it did not change"
    assert len(supervised.observations()) == 3, "the first, and one for each change"


def test_a_stalled_worker_is_killed_and_started_again(supervised: SupervisedRun) -> None:
    supervised.stalls_after(3)
    supervised.start("stalls")
    (first, _), (second, _) = supervised.await_starts(2)[:2]
    assert not alive(first)
    assert first != second
    assert "stalled and was killed" in supervised.logged()


def test_a_worker_that_keeps_crashing_is_started_ever_more_slowly(supervised: SupervisedRun) -> None:
    supervised.start("broken")
    times = [at for _, at in supervised.await_starts(4)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[1] >= 1.0
    assert pauses[2] >= 2.0
    assert "exited with status 3" in supervised.logged()
    assert "the last words" in supervised.logged()


def test_a_misconfigured_worker_is_tried_again_only_after_the_longest_wait(supervised: SupervisedRun) -> None:
    run = supervised.start("misconfigured")
    supervised.await_starts(1)
    eventually(lambda: "next start in 60 s" in supervised.logged(), supervised.log_tail)
    assert "SetupError: no such broker" in supervised.logged()
    assert len(supervised.worker_starts()) == 1
    pause(supervised.home, by="the test")
    assert run.wait(timeout=180) == 1, "a pause is not kept waiting by the back-off, and a failure is never green"
    assert supervised.runs() == [dg.DagsterRunStatus.FAILURE]
    assert "paused by the test, and the worker was failing" in supervised.logged()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_planned_stop_stops_the_worker_and_ends_in_success(supervised: SupervisedRun, number: signal.Signals) -> None:
    run = supervised.start("steady")
    (worker, _) = supervised.await_starts(1)[0]
    run.send_signal(number)
    assert run.wait(timeout=180) == 0
    assert not alive(worker)
    assert supervised.runs() == [dg.DagsterRunStatus.SUCCESS]


def test_a_run_terminated_in_dagster_stops_the_worker_and_ends_as_canceled(supervised: SupervisedRun) -> None:
    run = supervised.start("steady")
    (worker, _) = supervised.await_starts(1)[0]
    supervised.cancel()
    run.send_signal(signal.SIGINT)
    run.wait(timeout=180)
    # Interrupted while it records an observation, the run ends at once, and the worker when its input closes.
    eventually(lambda: not alive(worker), timeout_s=60.0)
    assert supervised.runs() == [dg.DagsterRunStatus.CANCELED]


def test_a_planned_stop_that_the_worker_ignores_is_a_failure(supervised: SupervisedRun) -> None:
    run = supervised.start("deaf", patience_s="1")
    (worker, _) = supervised.await_starts(1)[0]
    eventually(lambda: read_heartbeat(supervised.home) is not None)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=180) == 1
    assert not alive(worker)
    assert supervised.runs() == [dg.DagsterRunStatus.FAILURE]
    assert "was killed by SIGKILL" in supervised.logged()


def test_a_killed_run_leaves_no_orphan(supervised: SupervisedRun) -> None:
    run = supervised.start("steady")
    (worker, _) = supervised.await_starts(1)[0]
    run.kill()
    run.wait()
    eventually(lambda: not alive(worker), timeout_s=60.0)


def test_the_next_run_stops_a_worker_that_outlived_its_run(supervised: SupervisedRun) -> None:
    first_run = supervised.start("deaf")
    (orphan, _) = supervised.await_starts(1)[0]
    eventually(lambda: f'"pid": {orphan}' in (supervised.home / "stream_worker_run.json").read_text())
    first_run.kill()
    first_run.wait()
    assert alive(orphan)
    supervised.start("steady", patience_s="1")
    (second, _) = supervised.await_starts(2, timeout_s=180.0)[1]
    assert alive(second)
    assert not alive(orphan)


def test_a_second_run_for_the_same_home_ends_with_one_line_and_does_not_affect_the_first(
    supervised: SupervisedRun,
) -> None:
    first = supervised.start("steady")
    (worker, _) = supervised.await_starts(1)[0]
    second = supervised.start("steady", patience_s="1")
    assert second.wait(timeout=180) == 0
    assert supervised.logged().count("supervises the stream worker of") == 1
    assert "Traceback" not in supervised.logged()
    assert first.poll() is None
    assert alive(worker)
    assert supervised.runs() == [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS]
