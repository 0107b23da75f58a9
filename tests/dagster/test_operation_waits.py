"""What the jobs of operations do while nobody answers: they are tried again, wait within a bound, or are terminated."""

import os
import signal
import threading
from pathlib import Path

import dagster as dg
import pytest

from jobs.operations import operation_job
from neardup_platform.settings import Settings
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import CONTROL
from tests.dagster.operation_run import Run, variables
from tests.stream.worker_process import read_topic

pytestmark = pytest.mark.slow


def test_a_server_that_does_not_answer_is_tried_again_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation_job, "_RETRIES", 1)
    monkeypatch.setattr(operation_job, "_RETRY_S", 0)
    monkeypatch.setenv("NEARDUP_HOME", str(tmp_path))
    for name in ("NEARDUP_KAFKA_BOOTSTRAP", "NEARDUP_S3_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    run = Run("snapshot")
    assert run.failure.startswith("no embedded Kafka and S3 server is running")
    assert run.retries == 1


def test_without_a_worker_the_wait_is_bounded_and_a_terminated_run_cancels_its_command(
    empty_log: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation_job, "_RETRIES", 0)
    with variables(empty_log):
        alone = Run("snapshot", timeout_s=1)
        assert alone.failure.startswith(f"no result of command dagster-{alone.run_id} (snapshot) within 1 s")

        instance = dg.DagsterInstance.ephemeral()

        def terminate() -> None:
            eventually(lambda: len(read_topic(empty_log, CONTROL)) == 2)
            (record,) = instance.get_run_records()
            instance.report_run_canceling(record.dagster_run)
            os.kill(os.getpid(), signal.SIGINT)

        killer = threading.Thread(target=terminate)
        killer.start()
        terminated = Run("reprocess", instance, dry_run=False)
        killer.join()
    assert terminated.status is dg.DagsterRunStatus.CANCELED
    _, waiting, cancel = [pb.Command.FromString(value) for value in read_topic(empty_log, CONTROL)]
    assert (waiting.name, cancel.name) == ("reprocess", "cancel")
    assert cancel.arguments["command_id"] == waiting.command_id
