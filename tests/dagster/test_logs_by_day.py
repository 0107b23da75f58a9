"""The assets `logs_by_day/…`: when they are requested, and what a run shows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.logs_by_day import days, logs_by_day
from definitions import defs
from neardup_platform.servers.endpoints import environment
from neardup_platform.settings import Settings
from resources.platform import PlatformResource
from tests.dagster.supervised import ROOT
from tests.topic_logs.test_compaction import DAY, HOURS, Stored

LOG = dg.AssetKey(["logs", "decisions"])
DAYS = dg.AssetKey(["logs_by_day", "decisions"])
(day_of_decisions,) = [asset for asset in logs_by_day if asset.key == DAYS]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def test_a_day_is_requested_once_all_its_hours_are_materialised_and_again_when_one_is_again(
    instance: dg.DagsterInstance,
) -> None:
    cursor = None

    def requested(at: datetime) -> set[str]:
        nonlocal cursor
        selected = dg.AssetSelection.assets(DAYS)
        found = dg.evaluate_automation_conditions(
            defs, instance, asset_selection=selected, evaluation_time=at, cursor=cursor
        )
        cursor = found.cursor
        return found.get_requested_partitions(DAYS)

    def report(*chosen: datetime) -> None:
        for hour in chosen:
            instance.report_runless_asset_event(dg.AssetMaterialization(LOG, partition=f"{hour:%Y-%m-%d-%H:00}"))

    end = DAY + timedelta(days=1, minutes=3)
    assert requested(HOURS[1]) == set()
    report(*HOURS[:-1])
    assert requested(end) == set()
    report(HOURS[-1])
    assert requested(end + timedelta(minutes=5)) == {"2026-03-01"}
    instance.report_runless_asset_event(dg.AssetMaterialization(DAYS, partition="2026-03-01"))
    assert requested(end + timedelta(minutes=10)) == set()
    report(HOURS[4])
    assert requested(end + timedelta(minutes=15)) == {"2026-03-01"}


def test_a_day_that_is_not_over_is_no_partition() -> None:
    assert days.get_partition_keys(current_time=HOURS[20])[-1] == "2026-02-28"


def test_a_run_compacts_a_day_and_shows_what_it_did(
    servers: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    stored = Stored(servers, tmp_path)
    for name, value in environment(stored.settings).items():
        monkeypatch.setenv(name, value)

    def run() -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [day_of_decisions],
            partition_key=f"{DAY:%Y-%m-%d}",
            resources={"platform": PlatformResource()},
            instance=instance,
            raise_on_error=False,
        )

    stored.fill(HOURS[1:])
    lacking = run()
    assert not lacking.success
    (failed,) = lacking.get_step_failure_events()
    assert "not materialised for 2026-03-01T00" in str(failed.step_failure_data.user_failure_data)
    stored.fill(HOURS[:1])
    (event,) = run().asset_materializations_for_node("logs_by_day__decisions")
    shown = {name: value.value for name, value in event.metadata.items()}
    assert (shown["dagster/partition_row_count"], shown["objects_of_hours"], shown["files"]) == (144, 48, 1)
    assert shown["dagster/uri"] == f"s3://{stored.bucket}/logs-by-day/decisions/day=2026-03-01/"


def test_the_first_day_of_a_platform_has_the_hours_since_it_began() -> None:
    program = """
from datetime import UTC, datetime, timedelta
import dagster as dg
from assets.logs_by_day import _hours
from definitions import defs
log, days = (dg.AssetKey([name, "decisions"]) for name in ("logs", "logs_by_day"))
day = datetime(2026, 3, 1, tzinfo=UTC)
print(*(hour.hour for hour in _hours(day)))
with dg.DagsterInstance.ephemeral() as instance:
    cursor = None
    for number, hours in enumerate(([], range(11, 23), [23])):
        for hour in hours:
            event = dg.AssetMaterialization(log, partition=f"2026-03-01-{hour}:00")
            instance.report_runless_asset_event(event)
        found = dg.evaluate_automation_conditions(
            defs, instance, asset_selection=dg.AssetSelection.assets(days), cursor=cursor,
            evaluation_time=day + timedelta(days=1, minutes=number),
        )
        cursor = found.cursor
        print(sorted(found.get_requested_partitions(days)))
"""
    environment = {**os.environ, "NEARDUP_DAGSTER_LOGS_START": "2026-03-01-11:00"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    hours, *requested = done.stdout.splitlines()
    assert hours == " ".join(map(str, range(11, 24)))
    assert requested == ["[]", "[]", "['2026-03-01']"]
