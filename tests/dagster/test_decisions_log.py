"""The asset `logs/decisions` and its check, run by Dagster on a real Kafka and a real S3 server."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from assets.decisions_log import decisions_log, hours, offsets_are_continuous
from definitions import defs
from jobs.decisions_log_hourly import decisions_log_hourly, decisions_log_schedule
from neardup_platform.embedded.endpoints import environment
from neardup_platform.settings import Settings
from resources.platform import PlatformResource
from tests.batch.test_kafka_materialise import HOUR, NEXT, decision, publish


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def settings(empty_log: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As a run gets them: by the environment. The bucket does not exist yet."""
    bucket = f"log-{time.time_ns()}"
    settings = empty_log.model_copy(update={"s3": empty_log.s3.model_copy(update={"bucket": bucket})})
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


def materialise(instance: dg.DagsterInstance, hour: datetime) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [decisions_log, offsets_are_continuous],
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
    assert shown["uri"] == f"s3://{settings.s3.bucket}/logs/decisions/hour={HOUR:%Y-%m-%dT%H}/"
    (check,) = result.get_asset_check_evaluations()
    assert check.passed


@pytest.mark.slow
def test_the_check_fails_on_a_gap_and_says_what_to_do(settings: Settings, instance: dg.DagsterInstance) -> None:
    publish(settings, HOUR, decision(1))
    materialise(instance, HOUR)
    publish(settings, HOUR + timedelta(seconds=9), decision(2))
    publish(settings, NEXT, decision(3))
    (check,) = materialise(instance, NEXT).get_asset_check_evaluations()
    assert not check.passed
    assert f"materialise {HOUR:%Y-%m-%dT%H} again" in (check.description or "")


def test_the_schedule_requests_the_hour_that_has_ended_once() -> None:
    at = datetime(2026, 3, 1, 0, 2, tzinfo=UTC)
    request = decisions_log_schedule(dg.build_schedule_context(scheduled_execution_time=at))
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == request.run_key == "2026-02-28-23:00"


def test_the_hour_under_way_is_a_partition() -> None:
    now = datetime.now(UTC)
    assert f"{now:%Y-%m-%d-%H:00}" in hours.get_partition_keys(current_time=now)


def test_the_scheduled_job_runs_the_check_too() -> None:
    checks = decisions_log_hourly.selection.resolve_checks(defs.resolve_asset_graph())
    assert checks == {offsets_are_continuous.check_key}
