"""The sensor against a real, ephemeral Dagster instance and a real NEARDUP_HOME."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from assets.stream_worker import observation, stream_worker_asset
from jobs.stream_worker import stream_worker
from neardup_platform.supervise.heartbeat import pause, resume
from neardup_platform.supervise.run_record import RunRecord, process_id, write_record
from resources.own_runs import own_run_records
from resources.pause_sign import pause_everywhere, resume_everywhere
from resources.platform import PlatformResource
from resources.sign_of_life import SignOfLife, leave_sign
from sensors.stream_worker_sensor import stream_worker_sensor


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A NEARDUP_HOME, and a listener at the address of its broker."""
    monkeypatch.setenv("NEARDUP_HOME", str(tmp_path))
    monkeypatch.setenv("NEARDUP_S3_ENDPOINT", "http://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as broker:
        monkeypatch.setenv("NEARDUP_KAFKA_BOOTSTRAP", f"localhost:1,127.0.0.1:{broker.getsockname()[1]}")
        yield tmp_path


@pytest.fixture
def run_process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def tick(instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_sensor_context(instance=instance, resources={"platform": PlatformResource()})
    result = stream_worker_sensor(context)
    assert isinstance(result, dg.RunRequest | dg.SkipReason)
    return result


def started(
    instance: dg.DagsterInstance,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
    name: str = "theirs",
) -> str:
    # A queued run must name the location of its code; nothing is loaded from it.
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file="definitions.py"), location_name=name)
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), stream_worker.name)
    return instance.create_run_for_job(stream_worker, status=status, remote_job_origin=origin).run_id


def signed(home: Path, run_id: str, process: subprocess.Popen[bytes], age_s: float = 0.0) -> None:
    identity = process_id(process.pid)
    assert identity
    write_record(home, RunRecord(run_id, identity, None, int((time.time() - age_s) * 1_000)))


def test_an_empty_instance_gets_its_first_run(instance: dg.DagsterInstance, home: Path) -> None:
    assert tick(instance) == dg.RunRequest(run_key="first")


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ],
)
def test_a_second_run_is_never_requested(instance: dg.DagsterInstance, home: Path, status: dg.DagsterRunStatus) -> None:
    started(instance, status)
    assert isinstance(tick(instance), dg.SkipReason)


def test_a_run_without_its_process_is_marked_failed_and_replaced(
    instance: dg.DagsterInstance, home: Path, run_process: subprocess.Popen[bytes]
) -> None:
    run_id = started(instance)
    signed(home, run_id, run_process)
    assert isinstance(tick(instance), dg.SkipReason)
    run_process.kill()
    run_process.wait()
    assert tick(instance) == dg.RunRequest(run_key=f"after-{run_id}")
    run = instance.get_run_by_id(run_id)
    assert run
    assert run.status is dg.DagsterRunStatus.FAILURE


def test_a_stalled_run_is_killed_before_it_is_replaced(
    instance: dg.DagsterInstance, home: Path, run_process: subprocess.Popen[bytes]
) -> None:
    run_id = started(instance)
    signed(home, run_id, run_process, age_s=61)
    assert isinstance(tick(instance), dg.RunRequest)
    assert run_process.wait(timeout=5) == -9


def test_another_process_with_the_id_of_the_run_is_not_killed(
    instance: dg.DagsterInstance, home: Path, run_process: subprocess.Popen[bytes]
) -> None:
    run_id = started(instance)
    identity = process_id(run_process.pid)
    assert identity
    earlier = type(identity)(identity.pid, identity.created - 3_600)
    write_record(home, RunRecord(run_id, earlier, None, int(time.time() * 1_000)))
    assert isinstance(tick(instance), dg.RunRequest)
    assert run_process.poll() is None


def test_a_pause_is_respected_until_it_is_lifted(instance: dg.DagsterInstance, home: Path) -> None:
    pause(home, by="Ada")
    skipped = tick(instance)
    assert isinstance(skipped, dg.SkipReason)
    assert "Ada" in (skipped.skip_message or "")
    resume(home)
    assert isinstance(tick(instance), dg.RunRequest)


def test_damaged_files_neither_start_nor_end_anything(instance: dg.DagsterInstance, home: Path) -> None:
    run_id = started(instance)
    (home / "stream_worker_run.json").write_text("{")
    assert isinstance(tick(instance), dg.SkipReason)
    run = instance.get_run_by_id(run_id)
    assert run
    assert run.status is dg.DagsterRunStatus.STARTED


def test_without_a_broker_nothing_is_started_and_the_address_is_named(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARDUP_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    skipped = tick(instance)
    assert isinstance(skipped, dg.SkipReason)
    assert "no Kafka broker answers at 127.0.0.1:1" in (skipped.skip_message or "")


def test_without_the_embedded_servers_nothing_is_started(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEARDUP_KAFKA_BOOTSTRAP")
    skipped = tick(instance)
    assert isinstance(skipped, dg.SkipReason)
    assert "run `neardup up`" in (skipped.skip_message or "")


def test_while_another_dagster_supervises_this_home_nothing_is_started(
    instance: dg.DagsterInstance, home: Path, run_process: subprocess.Popen[bytes]
) -> None:
    signed(home, "a-run-of-another-instance", run_process)
    skipped = tick(instance)
    assert isinstance(skipped, dg.SkipReason)
    assert "a-run-of-another-instance still supervises" in (skipped.skip_message or "")


class Elsewhere:
    """The sensor on one machine and a run on another, whose clock is an hour behind; `now_s` is the sensor's time."""

    def __init__(self, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        self._instance, self._cursor, self.now_s = instance, None, time.time()
        monkeypatch.setattr(time, "time", lambda: self.now_s)

    def sign(self, run_id: str) -> None:
        leave_sign(self._instance, SignOfLife(run_id, int((self.now_s - 3_600) * 1_000)))

    def tick(self, after_s: float = 5.0) -> dg.RunRequest | dg.SkipReason:
        self.now_s += after_s
        context = dg.build_sensor_context(
            instance=self._instance, resources={"platform": PlatformResource()}, cursor=self._cursor
        )
        result = stream_worker_sensor(context)
        self._cursor = context.cursor
        assert isinstance(result, dg.RunRequest | dg.SkipReason)
        return result


@pytest.fixture
def elsewhere(instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    return Elsewhere(instance, monkeypatch)


def test_a_run_on_another_machine_that_leaves_signs_in_the_instance_is_left_alone(
    instance: dg.DagsterInstance, elsewhere: Elsewhere
) -> None:
    run_id = started(instance)
    for _ in range(20):
        elsewhere.sign(run_id)
        skipped = elsewhere.tick(after_s=10.0)
        assert isinstance(skipped, dg.SkipReason)
        assert f"run {run_id} is active" in (skipped.skip_message or "")


def test_a_run_on_another_machine_that_falls_silent_is_replaced(
    instance: dg.DagsterInstance, elsewhere: Elsewhere
) -> None:
    run_id = started(instance)
    elsewhere.sign(run_id)
    ticks = [elsewhere.tick(after_s=10.0) for _ in range(8)]
    assert [type(each) for each in ticks[:7]] == [dg.SkipReason] * 7
    assert ticks[7] == dg.RunRequest(run_key=f"after-{run_id}")
    run = instance.get_run_by_id(run_id)
    assert run
    assert run.status is dg.DagsterRunStatus.FAILURE


def test_what_a_stopped_daemon_did_not_hear_is_no_silence(instance: dg.DagsterInstance, elsewhere: Elsewhere) -> None:
    run_id = started(instance)
    elsewhere.sign(run_id)
    elsewhere.tick()
    assert isinstance(elsewhere.tick(after_s=7_200.0), dg.SkipReason)
    elsewhere.sign(run_id)
    assert isinstance(elsewhere.tick(), dg.SkipReason)


@pytest.mark.parametrize("silent", [False, True])
def test_in_a_shared_home_the_process_id_of_another_machine_is_not_looked_for(
    instance: dg.DagsterInstance, home: Path, elsewhere: Elsewhere, run_process: subprocess.Popen[bytes], silent: bool
) -> None:
    run_id = started(instance)
    identity = process_id(run_process.pid)
    assert identity
    gone = type(identity)(identity.pid, identity.created - 3_600)
    ticks = []
    for _ in range(10):
        at_ms = 0 if silent else int((elsewhere.now_s - 3_600) * 1_000)
        # The same number is a process of this machine, too.
        write_record(home, RunRecord(run_id, identity if silent else gone, None, at_ms, machine="worker-0"))
        ticks.append(elsewhere.tick(after_s=10.0))
    assert any(isinstance(each, dg.RunRequest) for each in ticks) == silent
    assert run_process.poll() is None


def test_a_run_elsewhere_that_the_instance_knows_as_finished_is_replaced_at_once(
    instance: dg.DagsterInstance, home: Path, elsewhere: Elsewhere, run_process: subprocess.Popen[bytes]
) -> None:
    run_id = started(instance)
    elsewhere.sign(run_id)
    identity = process_id(run_process.pid)
    assert identity
    write_record(home, RunRecord(run_id, identity, None, int(elsewhere.now_s * 1_000), machine="worker-0"))
    elsewhere.tick()
    run = instance.get_run_by_id(run_id)
    assert run
    elsewhere.now_s += 300
    instance.report_run_failed(run, "its pod is gone, says run monitoring")
    assert elsewhere.tick() == dg.RunRequest(run_key=f"after-{run_id}")


def fresh(instance: dg.DagsterInstance) -> list[dg.AssetCheckEvaluation]:
    """The recorded evaluations of the check `reports`, oldest first."""
    key = dg.AssetCheckKey(stream_worker_asset.key, "reports")
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    return [record.event.dagster_event.event_specific_data for record in reversed(records)]


def test_a_worker_that_does_not_report_is_stale_until_it_does(
    instance: dg.DagsterInstance, elsewhere: Elsewhere
) -> None:
    run_id = started(instance)
    instance.report_runless_asset_event(observation({"images": 1}))
    for _ in range(40):
        elsewhere.sign(run_id)
        elsewhere.tick(after_s=25.0)
    first, stale = fresh(instance)
    assert (first.passed, stale.passed) == (True, False)
    assert stale.severity is dg.AssetCheckSeverity.ERROR
    assert stale.description == "no report for 15 minutes: nothing is decided"
    assert "newest run of `stream_worker`" in str(stale.metadata["next_step"].value)
    instance.report_runless_asset_event(observation({"images": 2}))
    elsewhere.tick()
    assert [each.passed for each in fresh(instance)] == [True, False, True]


def test_a_paused_worker_need_not_report(instance: dg.DagsterInstance, home: Path, elsewhere: Elsewhere) -> None:
    pause(home, by="Ada")
    for _ in range(40):
        elsewhere.tick(after_s=25.0)
    assert [each.passed for each in fresh(instance)] == [True]


def test_runs_of_another_location_with_the_same_job_are_left_alone(instance: dg.DagsterInstance, home: Path) -> None:
    label = "__repository__@ours"
    other = started(instance)
    assert own_run_records(instance, None, stream_worker.name)[0].dagster_run.run_id == other
    assert own_run_records(instance, label, stream_worker.name) == []
    alone = instance.create_run_for_job(stream_worker).run_id
    ours = started(instance, name="ours")
    started(instance)
    found = own_run_records(instance, label, stream_worker.name)
    assert [record.dagster_run.run_id for record in found] == [ours, alone]
    assert own_run_records(instance, label, stream_worker.name, [dg.DagsterRunStatus.STARTED], limit=1) == found[:1]


def test_a_pause_on_another_machine_counts_and_one_of_this_home_is_lifted_by_its_file(
    instance: dg.DagsterInstance, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    pause_everywhere(instance, elsewhere, "an operator")
    answer = tick(instance)
    assert isinstance(answer, dg.SkipReason)
    assert "an operator" in (answer.skip_message or "")
    resume_everywhere(instance, elsewhere)
    assert isinstance(tick(instance), dg.RunRequest)
    pause_everywhere(instance, home, "an operator")
    assert isinstance(tick(instance), dg.SkipReason)
    # As `neardup resume` does, which knows no instance.
    resume(home)
    assert isinstance(tick(instance), dg.RunRequest)
