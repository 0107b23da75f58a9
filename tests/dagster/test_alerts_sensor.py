"""The sensor of alerts over a Dagster instance, with a real webhook."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

import resources.instance_problems as instance_problems_module
from resources.instance_problems import SUMMARY, instance_problems
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


@dg.asset(
    partitions_def=hours,
    check_specs=[
        dg.AssetCheckSpec("is_good", asset="log", partitions_def=hours),
        dg.AssetCheckSpec("all_are_good", asset="log", metadata={SUMMARY: "is_good"}),
    ],
)
def log(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """An asset with partitions."""
    if "gone" in FAULTS:
        raise dg.Failure(FAULTS["gone"], allow_retries=False)
    passed = context.partition_key not in FAULTS
    result = dg.AssetCheckResult(passed=passed, check_name="is_good", description=FAULTS.get(context.partition_key))
    summary = dg.AssetCheckResult(passed=passed, check_name="all_are_good")
    yield dg.MaterializeResult(check_results=[result, summary])


@dg.asset
def fragile() -> None:
    """Fails while a fault is planted."""
    if "asset" in FAULTS:
        raise dg.Failure(FAULTS["asset"], allow_retries=False)


@dg.job
def work() -> None:
    """Fails while a fault is planted."""

    @dg.op
    def step() -> None:
        if "error" in FAULTS:
            raise ValueError(FAULTS["error"])
        if "job" in FAULTS:
            raise dg.Failure(FAULTS["job"], allow_retries=False)

    step()


defs = dg.Definitions(assets=[table, log, fragile], asset_checks=[is_whole], jobs=[work])
NOON = datetime(2026, 3, 1, 12, 10, tzinfo=UTC)


hourly = dg.HourlyPartitionsDefinition("2026-01-01-00:00", timezone="UTC", end_offset=1)


def _logged(name: str) -> dg.AssetsDefinition:
    @dg.asset(key=["logs", name], group_name="logs", partitions_def=hourly)
    def made() -> None:
        """A log."""
        if name in FAULTS:
            raise dg.Failure(FAULTS[name], allow_retries=False)

    return made


@dg.asset(
    group_name="quality",
    partitions_def=hourly,
    deps=[["logs", "one"]],
    automation_condition=dg.AutomationCondition.eager(),
)
def measure() -> None:
    """Follows each hour of a log."""


@dg.asset(group_name="quality", partitions_def=dg.DailyPartitionsDefinition("2026-01-01", timezone="UTC", end_offset=1))
def report() -> None:
    """A report of each day."""


logged = dg.Definitions(assets=[_logged("one"), _logged("two"), measure, report])
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
    monkeypatch.setattr(instance_problems_module, "LINGERS_S", 0)
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
    tags = {"dagster/partition": partition} if partition else {}
    if job == "work":
        defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        return
    defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, raise_on_error=False, tags=tags, asset_selection=[dg.AssetKey(job)]
    )


def test_a_red_check_and_its_end_are_told_once(instance: dg.DagsterInstance, tick: Tick) -> None:
    run(instance, "table")
    assert tick() == []
    FAULTS["check"] = "offset 7 is missing: materialise it again"
    run(instance, "table")
    (begun,) = tick()
    first, text, link = begun.splitlines()
    assert (first, text) == ("Problem: check table is_whole is red", FAULTS["check"])
    assert link.endswith("/assets/table?view=checks&checkDetail=is_whole")
    run(instance, "table")
    assert tick() == []
    FAULTS.clear()
    run(instance, "table")
    (over,) = tick()
    assert over == "Over: check table is_whole is red\nIt lasted less than a minute"
    assert tick() == []


def test_a_failure_between_two_looks_is_told_and_one_that_flaps_is_told_once(
    instance: dg.DagsterInstance, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_problems_module, "LINGERS_S", 120)
    for _ in range(2):
        FAULTS["check"] = "30 messages were refused"
        run(instance, "table")
        FAULTS.clear()
        run(instance, "table")
    (begun,) = tick()
    assert begun.splitlines()[1] == "30 messages were refused"
    assert tick() == []
    monkeypatch.setattr(instance_problems_module, "LINGERS_S", 0)
    (over,) = tick()
    assert over.startswith("Over: check table is_whole is red")


def test_a_partition_stays_red_until_it_is_repaired(instance: dg.DagsterInstance, tick: Tick) -> None:
    FAULTS["12"] = "offset 7 is missing"
    run(instance, "log", "12")
    run(instance, "log", "13")
    (begun,) = tick()
    assert begun.splitlines()[:2] == ["Problem: check log is_good is red for 12", FAULTS["12"]], "13 is good"
    run(instance, "log", "13")
    assert tick() == []
    FAULTS.clear()
    run(instance, "log", "12")
    (over,) = tick()
    assert over.startswith("Over: check log is_good")


def test_a_partition_whose_run_failed_is_told_until_it_is_materialised(
    instance: dg.DagsterInstance, tick: Tick
) -> None:
    FAULTS["gone"] = "Kafka no longer holds it"
    run(instance, "log", "12")
    (begun,) = tick()
    first, reason, step, link = begun.splitlines()
    assert (first, reason) == ("Problem: log failed for 12", FAULTS["gone"])
    assert "re-execute" in step
    assert "/runs/" in link
    run(instance, "log", "12")
    assert tick() == [], "it is told once, however often it is tried"
    FAULTS.clear()
    run(instance, "log", "13")
    assert tick() == [], "another partition says nothing about it"
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection={dg.AssetKey("log")})
    retried = instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "12"}, asset_selection={dg.AssetKey("log")}
    )
    assert tick() == [], "a run that tries it again has not ended"
    instance.report_run_failed(retried)
    assert tick() == []
    run(instance, "log", "12")
    (over,) = tick()
    assert over.startswith("Over: log failed for 12")


def test_a_failed_run_is_told_with_its_reason_until_a_run_succeeds(instance: dg.DagsterInstance, tick: Tick) -> None:
    FAULTS["job"] = "there is no snapshot"
    run(instance, "work")
    (begun,) = tick()
    first, reason, step, link = begun.splitlines()
    assert (first, reason) == ("Problem: the run of work failed", "there is no snapshot")
    assert "re-execute" in step
    assert "/runs/" in link
    FAULTS.clear()
    run(instance, "work")
    (over,) = tick()
    assert over.startswith("Over: the run of work failed")


def test_a_run_that_failed_outside_its_steps_says_why(instance: dg.DagsterInstance, tick: Tick) -> None:
    lost = instance.create_run_for_job(defs.resolve_job_def("work"), status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(lost, "its process was killed")
    (begun,) = tick()
    assert begun.splitlines()[1] == "its process was killed"


def test_an_error_that_dagster_wraps_is_told_itself(instance: dg.DagsterInstance, tick: Tick) -> None:
    FAULTS["error"] = "-3 images"
    run(instance, "work")
    (begun,) = tick()
    assert begun.splitlines()[1] == "ValueError: -3 images"


@pytest.mark.parametrize("healed", [False, True])
def test_hours_that_are_missing_are_one_problem_of_their_group(instance: dg.DagsterInstance, healed: bool) -> None:
    for asset in ("one", "two"):
        for hour in (6, 7, *((8, 9) if healed else ()), 10):
            key = f"2026-03-01-{hour:02}:00"
            instance.report_runless_asset_event(dg.AssetMaterialization(["logs", asset], partition=key))
    found = instance_problems(instance, logged.get_repository_def(), {}, "http://dagster", NOON)
    if healed:
        assert [each.text.splitlines()[0] for each in found] == ["logs/one, logs/two: 2026-03-01-11:00"]
        return
    (stale,) = found
    assert stale.title == "partitions of logs are not materialised"
    listed = "logs/one, logs/two: 2026-03-01-08:00, 2026-03-01-09:00, 2026-03-01-11:00"
    assert stale.text.splitlines()[0] == listed
    assert "Missing partitions" in stale.text
    assert stale.link == "http://dagster/assets/logs/one?view=partitions"
    assert stale.wait_ms == 3_600_000


def test_an_hour_that_failed_is_one_problem_with_what_waits_for_it(instance: dg.DagsterInstance) -> None:
    for key in ("2026-03-01-10:00", "2026-03-01-11:00"):
        instance.report_runless_asset_event(dg.AssetMaterialization(["logs", "two"], partition=key))
    for asset in (["logs", "one"], ["measure"]):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition="2026-03-01-10:00"))
    FAULTS["one"] = "Kafka no longer holds it"
    logged.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        raise_on_error=False,
        partition_key="2026-03-01-11:00",
        asset_selection=[dg.AssetKey(["logs", "one"])],
    )
    found = instance_problems(instance, logged.get_repository_def(), {}, "", datetime.now(UTC))
    assert "logs/one failed for 2026-03-01-11:00" in [each.title for each in found]
    found = instance_problems(instance, logged.get_repository_def(), {}, "", NOON)
    assert [each.title for each in found] == ["logs/one failed for 2026-03-01-11:00"]


def test_reports_have_time_after_their_day_and_what_never_began_is_not_missing(instance: dg.DagsterInstance) -> None:
    repository = logged.get_repository_def()
    assert instance_problems(instance, repository, {}, "", NOON) == []
    instance.report_runless_asset_event(dg.AssetMaterialization("report", partition="2026-02-26"))
    instance.report_runless_asset_event(dg.AssetMaterialization("report", partition="2026-02-27"))
    assert instance_problems(instance, repository, {}, "", NOON.replace(hour=2)) == []
    (stale,) = instance_problems(instance, repository, {}, "", NOON)
    assert stale.text.startswith("report: 2026-02-28\n")


def test_a_failed_run_of_assets_is_over_when_these_assets_are_materialised(
    instance: dg.DagsterInstance, tick: Tick
) -> None:
    FAULTS["asset"] = "no memory"
    run(instance, "fragile")
    (begun,) = tick()
    assert begun.startswith("Problem: a run of fragile failed\nno memory\n")
    run(instance, "table")
    assert tick() == [], "a run of other assets says nothing about it"
    FAULTS.clear()
    run(instance, "fragile")
    (over,) = tick()
    assert over.startswith("Over: a run of fragile failed")


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
