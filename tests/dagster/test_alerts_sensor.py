"""The sensor of alerts over a Dagster instance, with a real webhook."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from resources.platform import PlatformResource
from sensors.alerts_sensor import alerts_sensor
from tests.alerts.test_alerts import webhook

FAULTS: dict[str, str] = {}
hours = dg.StaticPartitionsDefinition(["12", "13"])


@dg.asset
def table() -> None:
    """An asset."""


@dg.asset_check(asset=table)
def is_whole() -> dg.AssetCheckResult:
    """Fails while a fault is planted."""
    return dg.AssetCheckResult(passed="check" not in FAULTS, description=FAULTS.get("check"))


@dg.asset(partitions_def=hours, check_specs=[dg.AssetCheckSpec("is_good", asset="log", partitions_def=hours)])
def log(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """An asset with partitions."""
    passed = context.partition_key not in FAULTS
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=passed, check_name="is_good")])


@dg.job
def work() -> None:
    """Fails while a fault is planted."""

    @dg.op
    def step() -> None:
        if "job" in FAULTS:
            raise dg.Failure(FAULTS["job"], allow_retries=False)

    step()


defs = dg.Definitions(assets=[table, log], asset_checks=[is_whole], jobs=[work])
Tick = Callable[[], list[str]]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    FAULTS.clear()
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def tick(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tick]:
    """One look of the sensor; returns what the webhook got."""
    monkeypatch.setenv("NEARDUP_HOME", str(tmp_path))
    monkeypatch.setenv("NEARDUP_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("NEARDUP_S3_ENDPOINT", "http://127.0.0.1:1")
    cursors: list[str | None] = [None]
    with webhook(200) as (url, bodies):
        monkeypatch.setenv("NEARDUP_ALERTS_WEBHOOK", url)

        def look() -> list[str]:
            bodies.clear()
            repository = defs.get_repository_def()
            with dg.build_sensor_context(
                instance=instance,
                cursor=cursors[-1],
                repository_def=repository,
                resources={"platform": PlatformResource()},
            ) as context:
                result = alerts_sensor(context)
            assert isinstance(result, dg.SensorResult)
            cursors.append(result.cursor)
            return [json.loads(body)["text"] for body in bodies]

        yield look


def run(instance: dg.DagsterInstance, job: str, partition: str | None = None) -> None:
    resolved = defs.resolve_job_def(job) if job == "work" else defs.resolve_implicit_global_asset_job_def()
    if job != "work":
        key = dg.AssetKey(job)
        checks = {each for each in defs.resolve_asset_graph().asset_check_keys if each.asset_key == key}
        resolved = resolved.get_subset(asset_selection={key}, asset_check_selection=checks)
    tags = {"dagster/partition": partition} if partition else {}
    resolved.execute_in_process(instance=instance, raise_on_error=False, tags=tags)


def test_a_red_check_and_its_end_are_told_once(instance: dg.DagsterInstance, tick: Tick) -> None:
    run(instance, "table")
    assert tick() == []
    FAULTS["check"] = "offset 7 is missing: materialise it again"
    run(instance, "table")
    (begun,) = tick()
    first, named, text, link = begun.splitlines()
    assert first == "Problem: check table is_whole is red"
    assert (named, text) == ("check table is_whole is red", FAULTS["check"])
    assert link.endswith("/assets/table?view=checks&checkDetail=is_whole")
    run(instance, "table")
    assert tick() == []
    FAULTS.clear()
    run(instance, "table")
    (over,) = tick()
    assert over.startswith("Over: check table is_whole is red")
    assert tick() == []


def test_a_partition_stays_red_until_it_is_repaired(instance: dg.DagsterInstance, tick: Tick) -> None:
    FAULTS["12"] = "broken"
    run(instance, "log", "12")
    (begun,) = tick()
    assert begun.startswith("Problem: check log is_good is red for 12")
    run(instance, "log", "13")
    assert tick() == []
    FAULTS.clear()
    run(instance, "log", "12")
    (over,) = tick()
    assert over.startswith("Over: check log is_good")


def test_a_failed_run_is_told_with_its_reason_until_a_run_succeeds(instance: dg.DagsterInstance, tick: Tick) -> None:
    FAULTS["job"] = "there is no snapshot"
    run(instance, "work")
    (begun,) = tick()
    first, _, reason, link = begun.splitlines()
    assert (first, reason) == ("Problem: the run of work failed", "there is no snapshot")
    assert "/runs/" in link
    FAULTS.clear()
    run(instance, "work")
    (over,) = tick()
    assert over.startswith("Over: the run of work failed")


def test_without_settings_nothing_is_looked_at(
    instance: dg.DagsterInstance, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEARDUP_ALERTS_WEBHOOK")
    with dg.build_sensor_context(
        instance=instance, repository_def=defs.get_repository_def(), resources={"platform": PlatformResource()}
    ) as context:
        found = alerts_sensor(context)
    assert isinstance(found, dg.SkipReason)
    assert "alerts.webhook" in (found.skip_message or "")
