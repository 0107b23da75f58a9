"""The asset `stream/snapshots` against a real worker and a real S3 server: what the UI shows is what is on S3."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.snapshots import (
    PartitionChanges,
    partition_changes,
    snapshot_is_whole,
    snapshots_asset,
)
from definitions import defs
from jobs.operations.snapshots import snapshot_hourly
from neardup_platform.client import Client
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from neardup_platform.stream.snapshots.s3_snapshots import read_manifest
from neardup_platform.supervise.heartbeat import pause, resume
from resources.platform import PlatformResource
from sensors import snapshots_sensor as sensor_module
from sensors.snapshots_sensor import snapshots_sensor
from tests.dagster.conftest import IMAGES
from tests.dagster.operation_run import Run
from tests.dagster.test_operations import said

pytestmark = pytest.mark.slow


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as kept:
        yield kept


def partitions(instance: dg.DagsterInstance) -> list[str]:
    return sorted(instance.get_dynamic_partitions("neardup_snapshots"))


def recorded(instance: dg.DagsterInstance, snapshot: str) -> dict[str, Any]:
    """What the UI shows of a partition."""
    filters = dg.AssetRecordsFilter(snapshots_asset.key, asset_partitions=[snapshot])
    (record,) = instance.fetch_materializations(filters, limit=10).records
    assert record.asset_materialization
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def verdict(instance: dg.DagsterInstance, snapshot: str) -> dg.AssetCheckEvaluation:
    """The newest one of a partition."""
    (check_key,) = [key for key in defs.resolve_asset_graph().asset_check_keys if key.name == "snapshot_is_whole"]
    records = instance.event_log_storage.get_asset_check_execution_history(check_key, limit=50)
    found = [record.event.dagster_event.asset_check_evaluation_data for record in records if record.event]
    return next(evaluation for evaluation in found if evaluation.partition == snapshot)


def tick(instance: dg.DagsterInstance) -> dg.SensorResult | dg.SkipReason:
    """A tick of the sensor, with what the daemon does after it."""
    context = dg.build_sensor_context(instance=instance, resources={"platform": PlatformResource()}, definitions=defs)
    result = snapshots_sensor(context)
    if isinstance(result, dg.SensorResult):
        for request in result.dynamic_partitions_requests or ():
            if type(request).__name__.startswith("Add"):
                instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
            else:
                for key in request.partition_keys:
                    instance.delete_dynamic_partition(request.partitions_def_name, key)
        for event in result.asset_events:
            instance.report_runless_asset_event(event)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sensor leaves no snapshot to a run."""
    monkeypatch.setattr(sensor_module, "_LEFT_TO_ITS_RUN_S", -60.0)


def test_a_snapshot_is_a_partition_with_figures_and_a_verdict(platform: Settings, instance: dg.DagsterInstance) -> None:
    taken = Run("snapshot", instance).shown
    assert partitions(instance) == [taken["snapshot"]]
    shown = recorded(instance, taken["snapshot"])
    assert (shown["images"], shown["dagster/row_count"], shown["digest"]) == (IMAGES, IMAGES, taken["digest"])
    assert (shown["bytes"], shown["new_bytes"]) == (taken["bytes"], taken["uploaded_bytes"])
    assert shown["dagster/uri"].startswith(f"s3://{platform.s3.bucket}/snapshots/{taken['snapshot']}/")
    assert {"classifier_version", "terms_version", "seconds"} <= set(shown)
    offsets = {row.data["partition"]: row.data["next_offset"] for row in shown["positions"].records}
    manifest = read_manifest(open_s3(platform.s3), platform.s3.bucket, taken["snapshot"])
    assert offsets == manifest.positions
    assert verdict(instance, taken["snapshot"]).passed


def test_a_damaged_snapshot_fails_its_check_with_the_next_step(
    platform: Settings, instance: dg.DagsterInstance
) -> None:
    taken = Run("snapshot", instance).shown["snapshot"]
    s3, bucket = open_s3(platform.s3), platform.s3.bucket
    file = max(read_manifest(s3, bucket, taken).files, key=lambda file: file.bytes)
    body = s3.get_object(Bucket=bucket, Key=file.key)["Body"].read()

    def checked(read_files: bool, partition: str | None = taken) -> dg.AssetCheckEvaluation:
        # As the UI launches it.
        job = defs.resolve_implicit_global_asset_job_def()
        resolved = job.get_subset(asset_selection=set(), asset_check_selection={snapshot_is_whole.check_key})
        config = {"ops": {"stream__snapshots_snapshot_is_whole": {"config": {"read_files": read_files}}}}
        tags = {"dagster/partition": partition} if partition else {}
        done = resolved.execute_in_process(run_config=config, tags=tags, instance=instance)
        (evaluation,) = done.get_asset_check_evaluations()
        return evaluation

    assert checked(read_files=True).passed
    s3.put_object(Bucket=bucket, Key=file.key, Body=bytes(len(body)))
    assert checked(read_files=False).passed
    failed = checked(read_files=True)
    assert not failed.passed
    assert f"{file.name} has other bytes" in str(failed.description)
    assert "neardup snapshot delete" in failed.metadata["next_step"].value
    s3.delete_object(Bucket=bucket, Key=file.key)
    failed = checked(read_files=False)
    assert f"{file.name} (snapshots/files/{file.sha256}) is missing" in str(failed.description)
    assert failed.severity is dg.AssetCheckSeverity.ERROR
    assert not verdict(instance, taken).passed
    with pytest.raises(dg.Failure, match="execute this check for a partition"):
        checked(read_files=False, partition=None)
    s3.put_object(Bucket=bucket, Key=file.key, Body=body)
    assert said("snapshot", "verify", taken, "--read")["whole"]


def test_a_rollback_takes_its_snapshot_from_the_partition(
    platform: Settings, api: Client, instance: dg.DagsterInstance
) -> None:
    taken = Run("snapshot", instance).shown
    planned = Run("rollback", instance, partition=taken["snapshot"])
    assert (planned.shown["snapshot"], planned.shown["dry_run"]) == (taken["snapshot"], True)
    assert planned.tags["dagster/partition"] == taken["snapshot"]
    assert api.status().images == IMAGES


@pytest.mark.usefixtures("at_once", "platform")
def test_snapshots_of_the_command_line_come_and_go_as_partitions(instance: dg.DagsterInstance) -> None:
    tick(instance)
    before = partitions(instance)
    taken = said("snapshot")["snapshot"]
    tick(instance)
    assert partitions(instance) == sorted([*before, taken])
    assert recorded(instance, taken)["images"] == IMAGES
    assert verdict(instance, taken).passed
    assert isinstance(tick(instance), dg.SkipReason)
    said("snapshot", "delete", taken)
    tick(instance)
    assert partitions(instance) == before


@pytest.mark.usefixtures("platform")
def test_a_new_snapshot_is_left_to_the_run_that_takes_it(instance: dg.DagsterInstance) -> None:
    taken = said("snapshot")["snapshot"]
    tick(instance)
    assert taken not in partitions(instance)


def test_an_s3_that_does_not_answer_drops_no_partition(
    platform: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Run("snapshot", instance).shown["snapshot"]
    monkeypatch.setenv("NEARDUP_S3_ENDPOINT", "http://127.0.0.1:1")
    skipped = tick(instance)
    assert isinstance(skipped, dg.SkipReason)
    assert "S3 cannot be compared" in str(skipped.skip_message)
    assert partitions(instance) == [taken]


@pytest.mark.usefixtures("platform")
def test_scheduled_snapshots_are_thinned_out_and_their_partitions_with_them(instance: dg.DagsterInstance) -> None:
    by_hand = Run("snapshot", instance).shown["snapshot"]
    older = Run("snapshot", instance, scheduled=True).shown["snapshot"]
    assert older in partitions(instance)
    newer = Run("snapshot", instance, scheduled=True).shown["snapshot"]
    assert {by_hand, newer} <= set(partitions(instance))
    if int(older.split("-")[0]) // 3_600_000 == int(newer.split("-")[0]) // 3_600_000:
        assert older not in partitions(instance)
    listed = {entry["snapshot"]: entry["scheduled"] for entry in said("snapshot", "list")["snapshots"]}
    assert (listed[by_hand], listed[newer]) == (False, True)
    planned = Run("prune_snapshots", instance, keep=1).shown
    assert by_hand in planned["snapshots"]
    assert by_hand in partitions(instance)
    done = Run("prune_snapshots", instance, keep=1, dry_run=False).shown
    assert done["snapshots"] == planned["snapshots"]
    assert partitions(instance) == [newer]


def test_the_schedule_asks_for_a_scheduled_snapshot_unless_the_worker_is_paused(
    platform: Settings, instance: dg.DagsterInstance
) -> None:
    at = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    context = dg.build_schedule_context(instance, at, resources={"platform": PlatformResource()})
    request = snapshot_hourly(context)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "2026-01-31-12:30"
    assert request.run_config["ops"]["take_snapshot"]["config"] == {"scheduled": True}
    pause(platform.home, "a test")
    try:
        assert isinstance(snapshot_hourly(context), dg.SkipReason)
    finally:
        resume(platform.home)


def test_partitions_follow_the_snapshots() -> None:
    assert partition_changes(["1", "2"], ["2", "3"]) == PartitionChanges(["3"], ["1"])
    assert partition_changes([], []) == PartitionChanges([], [])
