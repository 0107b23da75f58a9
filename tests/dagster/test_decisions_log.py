"""The asset `logs/decisions` and its check, run by Dagster on a real Kafka and a real S3 server."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import PARTITION_NAME_TAG
from kafka import KafkaAdminClient, TopicPartition

from assets.decisions_log import decisions_log, decisions_log_checks
from assets.topic_logs import hours, topic_log_checks, topic_logs
from definitions import defs
from jobs.logs_hourly import MOST_MISSED, logs_hourly, logs_hourly_schedule
from neardup_platform.kafka.publisher import make_producer
from neardup_platform.kafka.topics import connection
from neardup_platform.kafka.window import offset_ranges, open_consumer
from neardup_platform.servers.endpoints import environment
from neardup_platform.servers.logs_start import with_logs_start
from neardup_platform.settings import DagsterSettings, Settings
from neardup_platform.supervise.home import mark_of, prepare_home
from neardup_platform.topic_logs.column_descriptions import DESCRIBED
from neardup_platform.topic_logs.topic_log import DECISIONS, LOGS
from resources.platform import PlatformResource
from tests.dagster.supervised import ROOT
from tests.decisions_log.test_kafka_materialise import HOUR, NEXT, decision, publish

HOUR_IS_WHOLE, ALL_ARE_WHOLE = (
    dg.AssetCheckKey(decisions_log.key, name) for name in ("offsets_are_continuous", "no_hour_is_broken")
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def settings(empty_log: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a run gets them, from the environment. The bucket does not exist yet."""
    bucket = f"log-{time.time_ns()}"
    settings = empty_log.model_copy(update={"s3": empty_log.s3.model_copy(update={"bucket": bucket})})
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


def materialise(instance: dg.DagsterInstance, hour: datetime) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [decisions_log, decisions_log_checks],
        partition_key=f"{hour:%Y-%m-%d-%H:00}",
        resources={"platform": PlatformResource()},
        instance=instance,
    )


@pytest.mark.slow
def test_an_hour_is_materialised_with_its_counts_and_checked(settings: Settings, instance: dg.DagsterInstance) -> None:
    publish(settings, HOUR, decision(1), decision(2, head="image-1"), decision(2, head="image-1"))
    result = materialise(instance, HOUR)
    (event,) = result.asset_materializations_for_node("logs__decisions")
    shown = {name: value.value for name, value in event.metadata.items()}
    counts = ("records", "decisions", "images", "clusters_founded", "joined")
    assert [shown[name] for name in counts] == [3, 2, 2, 1, 1]
    assert shown["dagster/partition_row_count"] == 3
    columns = shown["dagster/column_schema"].columns
    assert [column.name for column in columns] == DECISIONS.schema.names
    assert {column.name for column in columns if column.description} == set(DESCRIBED["decisions"])
    assert shown["dagster/uri"] == f"s3://{settings.s3.bucket}/logs/decisions/hour={HOUR:%Y-%m-%dT%H}/"
    assert [evaluation.passed for evaluation in result.get_asset_check_evaluations()] == [True, True]


@pytest.mark.slow
def test_every_topic_is_logged_with_its_columns(settings: Settings, instance: dg.DagsterInstance) -> None:
    now = datetime.now(UTC)
    sent = {log.name: log.message(**{log.identity: "x"}).SerializeToString() for log in LOGS}
    producer = make_producer(settings.kafka)
    for log in LOGS:
        # Of the partition that is materialised, even if its hour ends meanwhile.
        producer.send(log.topic, key=b"k", value=sent[log.name], timestamp_ms=round(now.timestamp() * 1_000))
    producer.flush()
    producer.close()
    result = dg.materialize(
        [*topic_logs, *topic_log_checks],
        partition_key=f"{now:%Y-%m-%d-%H:00}",
        resources={"platform": PlatformResource()},
        instance=instance,
    )
    for log in LOGS[1:]:
        (event,) = result.asset_materializations_for_node(f"logs__{log.name}")
        assert event.metadata["dagster/partition_row_count"].value == 1, log.name
        assert event.metadata["undecodable"].value == 0
        described = {each.name for each in event.metadata["dagster/column_schema"].value.columns if each.description}
        assert described == set(DESCRIBED[log.name]), "a described column does not exist"
    # Other tests emptied the topics within this hour, of which the check warns.
    checks = [each for each in result.get_asset_check_evaluations() if each.check_name == "offsets_are_continuous"]
    assert len(checks) == len(LOGS) - 1
    assert all(each.passed or each.severity is dg.AssetCheckSeverity.WARN for each in checks)


@pytest.mark.slow
def test_an_hour_that_kafka_no_longer_holds_fails_once(settings: Settings, instance: dg.DagsterInstance) -> None:
    publish(settings, HOUR, decision(1))
    publish(settings, NEXT, decision(2))
    with closing(open_consumer(settings.kafka)) as consumer:
        (gone, *_) = offset_ranges(consumer, DECISIONS.topic, *(round(h.timestamp() * 1_000) for h in (HOUR, NEXT)))
    with closing(KafkaAdminClient(**connection(settings.kafka))) as admin:
        admin.delete_records({TopicPartition(DECISIONS.topic, 0): gone.next})
    with pytest.raises(dg.Failure, match="no longer holds"):
        materialise(instance, HOUR)


@pytest.mark.slow
def test_the_check_fails_on_a_gap_and_says_what_to_do(settings: Settings, instance: dg.DagsterInstance) -> None:
    publish(settings, HOUR, decision(1))
    materialise(instance, HOUR)
    publish(settings, HOUR + timedelta(seconds=9), decision(2))
    publish(settings, NEXT, decision(3))
    check, overall = evaluations(materialise(instance, NEXT))
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert f"materialise {HOUR:%Y-%m-%dT%H} again" in (check.description or "")
    assert not overall.passed

    later = NEXT + timedelta(hours=1)
    publish(settings, later, decision(4))
    check, overall = evaluations(materialise(instance, later))
    assert check.passed
    assert by_hour(instance) == {HOUR: "SUCCEEDED", NEXT: "FAILED", later: "SUCCEEDED"}
    assert not overall.passed, "a later hour turns the asset green"
    assert f"broken: {NEXT:%Y-%m-%d-%H:00}." in (overall.description or "")

    assert not evaluations(materialise(instance, HOUR))[1].passed
    assert evaluations(materialise(instance, NEXT))[1].passed
    assert by_hour(instance) == dict.fromkeys((HOUR, NEXT, later), "SUCCEEDED")


def evaluations(result: dg.ExecuteInProcessResult) -> tuple[dg.AssetCheckEvaluation, dg.AssetCheckEvaluation]:
    """The result for the hour, and for all hours."""
    named = {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
    return named["offsets_are_continuous"], named["no_hour_is_broken"]


def by_hour(instance: dg.DagsterInstance) -> dict[datetime, str]:
    """The current result of the check for each hour, as the UI shows it."""
    stored = instance.event_log_storage.get_asset_check_partition_info([HOUR_IS_WHOLE])
    return {
        datetime.strptime(f"{info.partition_key}+0000", "%Y-%m-%d-%H:%M%z"): info.latest_execution_status.name
        for info in stored
    }


def test_a_check_without_an_hour_says_where_to_choose_one(instance: dg.DagsterInstance) -> None:
    job = defs.resolve_implicit_global_asset_job_def()
    resolved = job.get_subset(asset_selection=set(), asset_check_selection={HOUR_IS_WHOLE})
    with pytest.raises(dg.Failure, match="execute this check for a partition"):
        resolved.execute_in_process(instance=instance)


def test_whether_any_hour_is_broken_is_checked_without_an_hour(instance: dg.DagsterInstance) -> None:
    job = defs.resolve_implicit_global_asset_job_def()
    resolved = job.get_subset(asset_selection=set(), asset_check_selection={ALL_ARE_WHOLE})
    (found,) = resolved.execute_in_process(instance=instance).get_asset_check_evaluations()
    assert found.passed
    assert found.asset_check_key == ALL_ARE_WHOLE


def test_the_checks_of_a_log_are_one_step() -> None:
    job = defs.resolve_implicit_global_asset_job_def()
    resolved = job.get_subset(asset_selection={decisions_log.key})
    assert {node.name for node in resolved.nodes} == {"logs__decisions", "logs__decisions__is_whole"}


def requested(instance: dg.DagsterInstance, at: datetime) -> list[str]:
    """The hours that the schedule requests at a time."""
    found = logs_hourly_schedule(dg.build_schedule_context(instance=instance, scheduled_execution_time=at))
    assert isinstance(found, list)
    assert [each.run_key for each in found] == [each.partition_key for each in found]
    return [str(each.partition_key) for each in found]


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on disk, which the context of a schedule requires."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def test_the_schedule_requests_the_hour_that_has_ended_once(stored: dg.DagsterInstance) -> None:
    at = datetime(2026, 3, 1, 0, 2, tzinfo=UTC)
    assert requested(stored, at) == ["2026-02-28-23:00"]


def test_the_schedule_requests_hours_that_a_stop_missed_the_oldest_first(stored: dg.DagsterInstance) -> None:
    for hour in ("2026-02-27-10:00", "2026-02-27-12:00"):
        stored.report_runless_asset_event(dg.AssetMaterialization(decisions_log.key, partition=hour))
    first, *missed = requested(stored, datetime(2026, 3, 1, 0, 2, tzinfo=UTC))
    assert first == "2026-02-28-23:00"
    assert missed[:3] == ["2026-02-27-11:00", "2026-02-27-13:00", "2026-02-27-14:00"]
    assert len(missed) == MOST_MISSED
    for hour in missed:
        stored.report_runless_asset_event(dg.AssetMaterialization(decisions_log.key, partition=hour))
    assert requested(stored, datetime(2026, 3, 1, 1, 2, tzinfo=UTC))[:2] == ["2026-03-01-00:00", "2026-02-28-12:00"]


def run_of(instance: dg.DagsterInstance, job: dg.JobDefinition, hour: str, status: dg.DagsterRunStatus) -> None:
    """Record a run of an hour that a person has launched: without a run key."""
    instance.create_run_for_job(job, status=status, tags={PARTITION_NAME_TAG: hour})


def test_the_schedule_leaves_an_hour_to_the_run_that_waits_for_it(stored: dg.DagsterInstance) -> None:
    job, waits = defs.resolve_job_def("logs_hourly"), dg.DagsterRunStatus.NOT_STARTED
    for hour in ("2026-02-28-19:00", "2026-02-28-20:00"):
        stored.report_runless_asset_event(dg.AssetMaterialization(decisions_log.key, partition=hour))
    at = datetime(2026, 3, 1, 0, 2, tzinfo=UTC)
    assert requested(stored, at) == ["2026-02-28-23:00", "2026-02-28-21:00", "2026-02-28-22:00"]
    run_of(stored, job, "2026-02-28-21:00", waits)
    # Another job may have partitions of the same names.
    run_of(stored, defs.resolve_job_def("parity_hourly"), "2026-02-28-22:00", waits)
    run_of(stored, job, "2026-02-28-22:00", dg.DagsterRunStatus.FAILURE)
    assert requested(stored, at) == ["2026-02-28-23:00", "2026-02-28-22:00"]


def test_the_hour_that_has_ended_is_requested_whatever_waits_for_it_and_goes_first(stored: dg.DagsterInstance) -> None:
    """A backfill may hold its run back for hours, or have written a part of it before it ended."""
    run_of(stored, defs.resolve_job_def("logs_hourly"), "2026-02-28-23:00", dg.DagsterRunStatus.NOT_STARTED)
    at = datetime(2026, 3, 1, 0, 2, tzinfo=UTC)
    (found,) = logs_hourly_schedule(dg.build_schedule_context(instance=stored, scheduled_execution_time=at))
    assert (found.partition_key, found.tags["dagster/priority"]) == ("2026-02-28-23:00", "1")


def test_the_schedule_leaves_hours_to_a_backfill_that_has_yet_to_launch_their_runs(stored: dg.DagsterInstance) -> None:
    stored.report_runless_asset_event(dg.AssetMaterialization(decisions_log.key, partition="2026-02-28-18:00"))
    at = datetime(2026, 3, 1, 0, 2, tzinfo=UTC)
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id="b",
        asset_graph=defs.resolve_asset_graph(),
        partition_names=[f"2026-02-28-{hour}:00" for hour in (19, 20, 22, 23)],
        asset_selection=[decisions_log.key],
        backfill_timestamp=at.timestamp() - 5_400,
        tags={},
        dynamic_partitions_store=stored,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
    stored.add_backfill(backfill)
    assert requested(stored, at) == ["2026-02-28-23:00", "2026-02-28-21:00"]
    stored.update_backfill(backfill.with_status(BulkActionStatus.CANCELED))
    assert len(requested(stored, at)) == 5


def test_the_current_hour_is_a_partition() -> None:
    now = datetime.now(UTC)
    assert f"{now:%Y-%m-%d-%H:00}" in hours.get_partition_keys(current_time=now)


def test_the_scheduled_job_runs_the_check_too() -> None:
    checks = logs_hourly.selection.resolve_checks(defs.resolve_asset_graph())
    assert {HOUR_IS_WHOLE, ALL_ARE_WHOLE} < checks
    assert len(checks) == 2 * len(LOGS)


def test_the_hours_start_with_the_platform_and_earlier_ones_stay_valid(
    tmp_path: Path, stored: dg.DagsterInstance
) -> None:
    prepare_home(tmp_path)
    mark_of(tmp_path)
    started = datetime(2026, 3, 1, 12, 40, tzinfo=UTC)
    os.utime(tmp_path / "run" / "mark", (started.timestamp(), started.timestamp()))
    now = started + timedelta(days=2)
    settings = with_logs_start(Settings(home=tmp_path), embedded_kafka=True, now=now)
    offered = hours_offered(settings, now)
    assert offered[0] == "2026-03-01-11:00"
    assert offered[-1] == "2026-03-03-12:00"
    first = started.replace(minute=2) + timedelta(hours=1)
    assert set(requested(stored, first - timedelta(hours=1))) <= set(offered)

    (tmp_path / "run" / "mark").touch()
    assert hours_offered(with_logs_start(Settings(home=tmp_path), embedded_kafka=True, now=now), now) == offered


def test_for_an_existing_kafka_every_hour_that_it_may_keep_is_offered(tmp_path: Path) -> None:
    prepare_home(tmp_path)
    now = datetime.now(UTC)
    settings = with_logs_start(Settings(home=tmp_path), embedded_kafka=False, now=now)
    assert len(hours_offered(settings, now)) in (170, 171)
    wanted = Settings(home=tmp_path, dagster=DagsterSettings(logs_start="2026-01-01-00:00"))
    assert with_logs_start(wanted, embedded_kafka=False, now=now) == wanted


def hours_offered(settings: Settings, now: datetime) -> list[str]:
    """The partitions of a code location that was started with these settings."""
    program = (
        "import sys; from datetime import datetime; from assets.topic_logs import hours\n"
        "print(*hours.get_partition_keys(current_time=datetime.fromisoformat(sys.argv[1])))"
    )
    return subprocess.run(
        [sys.executable, "-c", program, now.isoformat()],
        cwd=ROOT,
        env={**os.environ, **environment(settings)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
