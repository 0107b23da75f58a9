"""The asset `bootstrap/images`, its sensor and its job against a real worker: each data set on S3 is loaded once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.table_metadata import PARTITION_ROWS
from definitions import defs
from neardup_platform.s3_client import open_s3
from neardup_platform.settings import Settings
from resources.platform import PlatformResource
from sensors.data_sets_sensor import data_sets_sensor
from tests.bootstrap.loaded_data_sets import START_MS, image, load, put, row
from tests.dagster.operation_run import variables

KEY = dg.AssetKey(["bootstrap", "images"])


@pytest.fixture
def instance(tmp_path: Path, platform: Settings) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as kept, variables(platform):
        yield kept


def tick(instance: dg.DagsterInstance, cursors: list[str] | None = None) -> tuple[list[str], str]:
    """Partitions of the requested runs, and the skip reason; the requested partitions are added.

    Args:
        cursors: of the ticks before; this one adds its own. None for a sensor without a cursor.
    """
    cursor = cursors[-1] if cursors else None
    context = dg.build_sensor_context(
        instance=instance, resources={"platform": PlatformResource()}, definitions=defs, cursor=cursor
    )
    result = data_sets_sensor(context)
    if isinstance(result, dg.SkipReason):
        return [], result.skip_message or ""
    assert isinstance(result, dg.SensorResult)
    for request in result.dynamic_partitions_requests or ():
        instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
    if cursors is not None:
        cursors.append(result.cursor or "")
    requests = list(result.run_requests or ())
    assert [each.run_key for each in requests] == [each.partition_key for each in requests]
    reason = result.skip_reason.skip_message if result.skip_reason else ""
    return [str(each.partition_key) for each in requests], reason or ""


def run(instance: dg.DagsterInstance, partition: str, **config: bool) -> dg.ExecuteInProcessResult:
    instance.add_dynamic_partitions("data_sets", [partition])
    return defs.resolve_job_def("bootstrap").execute_in_process(
        instance=instance,
        partition_key=partition,
        run_config={"ops": {"bootstrap__images": {"config": config}}} if config else None,
        raise_on_error=False,
    )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_the_sensor_requests_a_run_for_each_complete_version_once(
    platform: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    other = platform.bootstrap.model_copy(update={"prefix": "watched/"})
    watched = platform.model_copy(update={"bootstrap": other})
    s3 = open_s3(platform.s3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEARDUP_BOOTSTRAP_PREFIX", "watched/")
        assert tick(instance) == ([], "0 complete, each with its partition")
        put(watched, "first", tmp_path, [row(image(200, START_MS))])
        s3.put_object(Bucket=platform.s3.bucket, Key="watched/half/0.parquet", Body=b"PAR1")
        (first,), reason = tick(instance)
        assert (first.partition("@")[0], reason) == ("first", "")
        requested, reason = tick(instance)
        assert requested == []
        assert "1 incomplete data set: 'half': it has neither manifest.json nor _SUCCESS" in reason
        manifest = json.dumps({"files": [{"name": "0.parquet", "size": 5}]}).encode()
        s3.put_object(Bucket=platform.s3.bucket, Key="watched/half/manifest.json", Body=manifest)
        assert "'half': 0.parquet has 4 bytes, manifest.json says 5" in tick(instance)[1]
        put(watched, "first", tmp_path, [row(image(200, START_MS)), row(image(201, START_MS))])
        (second,), _ = tick(instance)
        assert (second.partition("@")[0], second == first) == ("first", False)


def test_the_sensor_asks_for_a_few_at_once_and_for_none_that_the_command_line_has_loaded(
    platform: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    several = platform.model_copy(
        update={"bootstrap": platform.bootstrap.model_copy(update={"prefix": "several/", "most_requested": 2})}
    )
    for number, name in enumerate("abc"):
        put(several, name, tmp_path, [row(image(210 + number, START_MS))])
    load(several, "a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEARDUP_BOOTSTRAP_PREFIX", "several/")
        patch.setenv("NEARDUP_BOOTSTRAP_MOST_REQUESTED", "2")
        asked = [[each.partition("@")[0] for each in tick(instance)[0]] for _ in range(3)]
        assert asked == [["b"], ["c"], []]
        assert {each.partition("@")[0] for each in instance.get_dynamic_partitions("data_sets")} == {"a", "b", "c"}

        put(several, "checked", tmp_path, [row(image(214, START_MS))], hold=True)
        put(several, "d", tmp_path, [row(image(215, START_MS))])
        assert [each.partition("@")[0] for each in tick(instance)[0]] == ["d"]
        assert tick(instance) == ([], "5 complete, each with its partition, 1 held until neardup bootstrap NAME")
        load(several, "checked")
        assert tick(instance)[0] == []
        assert "checked" in {each.partition("@")[0] for each in instance.get_dynamic_partitions("data_sets")}


def test_a_tick_that_dies_before_its_runs_are_made_is_repeated(
    platform: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Dagster adds partitions, then makes the runs, then keeps the cursor."""
    died = platform.model_copy(
        update={"bootstrap": platform.bootstrap.model_copy(update={"prefix": "died/", "most_requested": 2})}
    )
    cursors: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEARDUP_BOOTSTRAP_PREFIX", "died/")
        assert tick(instance, cursors)[0] == []
        version = put(died, "one", tmp_path, [row(image(240, START_MS))])
        assert tick(instance, cursors[:])[0] == [version]
        assert version in instance.get_dynamic_partitions("data_sets")
        assert [tick(instance, cursors)[0] for _ in range(2)] == [[version], []]
        assert json.loads(cursors[-1]) == [version]
        # One that a person has entered.
        assert tick(instance, ["7"]) == tick(instance, ["nonsense"]) == ([], "1 complete, each with its partition")


def test_a_run_shows_what_became_of_the_rows_and_executed_again_loads_nothing_twice(
    platform: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    rows = [row(image(220, START_MS)), row(image(221, START_MS), "l"), row(image(222, START_MS), lsh_version="old")]
    version = put(platform, "shown", tmp_path, rows)
    checked = run(instance, version, dry_run=True)
    assert (checked.success, checked.get_asset_materialization_events()) == (True, [])
    (observed,) = checked.get_asset_observation_events()
    found = observed.asset_observation_data.asset_observation.metadata["bad_rows_by_reason"].value
    assert [record.data["reason"] for record in found.records] == ["other-version"]

    refused = run(instance, version)
    failure = refused.failure_data_for_node("bootstrap__images")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert "1 of 3 rows" in str(failure.user_failure_data.description)
    assert "examples" in failure.user_failure_data.metadata
    result = run(instance, version, skip_bad=True)
    shown = metadata(result)
    assert (shown["decided"], shown["published"], shown[PARTITION_ROWS]) == (1, 1, 3)
    assert [record.data["reason"] for record in shown["bad_rows_by_reason"].records] == ["other-version"]
    assert shown["examples"].records[0].data["image_id"] == image(222, START_MS).image_id
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.description) == (False, "left out: 1 bad rows")
    assert "was loaded before" in metadata(run(instance, version))["summary"]


def test_a_run_of_a_version_that_is_not_there_any_more_says_so(
    platform: Settings, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    first = put(platform, "moved", tmp_path, [row(image(230, START_MS))])
    put(platform, "moved", tmp_path, [row(image(231, START_MS))])
    result = run(instance, first)
    assert not result.success
    assert f"not {first.partition('@')[2]}: its files were replaced" in str(result.all_events)
