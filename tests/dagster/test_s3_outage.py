"""An S3 server that stops during a run: the run fails with the reason, and the same run, executed again, succeeds."""

import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository

from jobs.operations import operation_job
from neardup_platform.servers.embedded_servers import claimed, server_services, supervised
from neardup_platform.settings import Settings
from neardup_platform.supervise.home import prepare_home
from neardup_platform.testing import eventually
from tests.dagster.operation_run import variables
from tests.dagster.supervised import ROOT
from tests.faults.world import LIGHT
from tests.stream.worker_process import images, publish, reading, start

pytestmark = pytest.mark.slow

IMAGES = 20


def test_a_snapshot_refused_while_s3_is_away_is_taken_by_the_same_run_executed_again(
    empty_log: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation_job, "_RETRIES", 1)
    monkeypatch.setattr(operation_job, "_RETRY_S", 0)
    prepare_home(tmp_path / "own")
    own, services = server_services(Settings(home=tmp_path / "own"), kafka=False)
    settings = empty_log.model_copy(update={"s3": own.s3})
    job = ReconstructableJob(ReconstructableRepository.for_file("definitions.py", "defs", str(ROOT)), "snapshot")
    with claimed(own.home), supervised(own.home, services, print) as s3, variables(settings):
        worker = start(settings, module=LIGHT)
        try:
            with reading(settings) as reader, dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
                publish(settings, range(IMAGES))
                eventually(lambda: images(reader) == IMAGES)

                with dg.execute_job(job, instance) as refused:
                    assert not refused.success
                (failure,) = refused.get_step_failure_events()
                assert failure.step_failure_data.user_failure_data is not None
                reason = failure.step_failure_data.user_failure_data.description or ""
                assert reason.startswith(f"S3 at {own.s3.endpoint}, bucket {own.s3.bucket}: ")
                assert "(tried 2 times; re-execute this run" in reason
                reader.refresh()
                record = reader.commands.find(f"dagster-{refused.run_id}")
                assert record is not None
                assert record.result.temporary

                s3.start(threading.Event())
                options = dg.ReexecutionOptions(parent_run_id=refused.run_id)
                with dg.execute_job(job, instance, reexecution_options=options) as again:
                    assert again.success
                reader.refresh()
                record = reader.commands.find(f"dagster-{refused.run_id}")
                assert record is not None
                assert record.result.accepted
                assert reader.commands.id_of(record.number) == f"dagster-{refused.run_id}"
                assert reader.state().commands == record.number == 3
                assert [reader.commands.id_of(number) for number in (1, 2)] == [None, None]
                assert worker.poll() is None
        finally:
            worker.kill()
            worker.wait()
