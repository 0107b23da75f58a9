"""The assets `quality/report/…` and `neardup report`, over measures and logs on a real S3 server."""

import re
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.quality_report import days, report_daily, report_weekly, weeks
from jobs.quality_reports import quality_report_daily_schedule, quality_report_weekly_schedule
from neardup_platform.cli.report_command import quality_report
from neardup_platform.hourly_quality.s3_coverage import put_coverage
from neardup_platform.hourly_quality.s3_profiles import put_profile
from neardup_platform.hourly_quality.s3_recall import put_recall
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.quality_report.matplotlib_trends import PLOTS
from neardup_platform.quality_report.s3_reports import report_key
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.settings import Settings
from neardup_platform.topic_logs.s3_topic_log import object_key, put_object
from neardup_platform.topic_logs.topic_log import DECISIONS
from resources.platform import PlatformResource
from tests.dagster.test_coverage import settings
from tests.quality_report.measured import DAY, HOUR, WEEK, hour
from tests.what_if.records import decision, parquet

__all__ = ["settings"]


@pytest.fixture
def measured(settings: Settings, tmp_path: Path) -> Settings:
    """Two measured hours of `DAY`, one of which lost an image; the decisions of the other are logged."""
    s3, bucket = open_s3(settings.s3), settings.s3.bucket
    ensure_bucket(s3, settings.s3)
    for start, lost in ((DAY.begin, ()), (DAY.begin + HOUR, ("gone",))):
        found = hour(start, lost=lost)
        assert found.coverage
        assert found.profile
        put_coverage(s3, bucket, found.coverage)
        assert found.recall
        put_profile(s3, bucket, start, found.profile)
        put_recall(s3, bucket, found.recall)
    file = parquet(tmp_path, [decision(1, "cat"), decision(2, "kitten", "cat", [("cat", 0.9, "cat")])])
    put_object(s3, bucket, object_key(DECISIONS, DAY.begin, 0), file, OffsetRange(0, 0, 2))
    return settings


def materialise(asset: dg.AssetsDefinition, partition: str) -> dict[str, object]:
    result = dg.materialize([asset], partition_key=partition, resources={"platform": PlatformResource()})
    (event,) = result.asset_materializations_for_node(asset.node_def.name)
    return {name: value.value for name, value in event.metadata.items()}


def test_a_report_is_on_s3_with_its_plots_and_the_same_when_it_is_made_again(measured: Settings) -> None:
    s3, bucket = open_s3(measured.s3), measured.s3.bucket

    def page() -> str:
        body = s3.get_object(Bucket=bucket, Key=report_key(DAY))["Body"].read().decode()
        return re.sub("Made on .*? UTC", "", body)

    shown = materialise(report_daily, DAY.name)
    assert shown["dagster/uri"] == f"s3://{bucket}/quality/report/day/2025-11-26/report.html"
    assert str(shown["report"]).endswith("/v1/reports/day/2025-11-26")
    assert (shown["announced"], shown["lost"], shown["issues"], shown["hours_missing"]) == (2_000, 1, 1, 22)
    assert "images got no decision in 1 hour" in str(shown["in_words"])
    assert (shown["matches"], shown["missed"]) == (100, 0)
    for plot in ("arrivals", "recall"):
        assert "data:image/png;base64," in str(shown[f"plot_{plot}"])
    first = page()
    assert "Wednesday, 26 November 2025" in first
    assert ">kitten</a>" in first
    for plot in PLOTS:
        found = s3.head_object(Bucket=bucket, Key=report_key(DAY, f"{plot.name}.png"))
        assert found["ContentType"] == "image/png"
    materialise(report_daily, DAY.name)
    assert page() == first
    shown = materialise(report_weekly, "2025-11-24")
    assert shown["dagster/uri"] == f"s3://{bucket}/{report_key(WEEK)}"
    assert shown["announced"] == 2_000


def test_the_command_writes_the_same_page(measured: Settings, tmp_path: Path) -> None:
    file = tmp_path / "day.html"
    ran = CliRunner().invoke(quality_report, ["--day", DAY.name, "--out", str(file)], catch_exceptions=False)
    assert ran.exit_code == 0
    assert "2,000 images arrived" in ran.stdout
    assert f"written to {file}" in ran.stdout
    assert "<h1>Wednesday, 26 November 2025</h1>" in file.read_text()
    with pytest.raises(Exception, match="name another file with --out"):
        CliRunner().invoke(
            quality_report, ["--day", DAY.name, "--out", str(tmp_path / "no" / "x.html")], catch_exceptions=False
        )


def test_schedules_request_the_day_and_the_week_before() -> None:
    monday = datetime(2025, 12, 1, 1, 40, tzinfo=UTC)
    context = dg.build_schedule_context(scheduled_execution_time=monday)
    daily, weekly = quality_report_daily_schedule(context), quality_report_weekly_schedule(context)
    assert isinstance(daily, dg.RunRequest)
    assert isinstance(weekly, dg.RunRequest)
    assert (daily.partition_key, weekly.partition_key) == ("2025-11-30", "2025-11-24")
    assert days.has_partition_key("2025-11-30")
    assert weeks.has_partition_key("2025-11-24")
