"""The jobs and schedules that report on each day and each week, once its last hour is measured."""

from datetime import timedelta

import dagster as dg

from assets.quality_report import report_daily, report_weekly

quality_report_daily = dg.define_asset_job(
    "quality_report_daily",
    dg.AssetSelection.assets(report_daily),
    description="Makes the quality report of one day.",
)
quality_report_weekly = dg.define_asset_job(
    "quality_report_weekly",
    dg.AssetSelection.assets(report_weekly),
    description="Makes the quality report of one week.",
)


@dg.schedule(
    job=quality_report_daily,
    # The last hour is complete once the first of the next day is materialised, two minutes past one.
    cron_schedule="20 1 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Requests the quality report of the day before.",
)
def quality_report_daily_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Request the day before the scheduled one, once."""
    day = f"{context.scheduled_execution_time - timedelta(days=1):%Y-%m-%d}"
    return dg.RunRequest(run_key=day, partition_key=day)


@dg.schedule(
    job=quality_report_weekly,
    cron_schedule="40 1 * * 1",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Requests the quality report of the week that ended the day before, from Monday to Sunday.",
)
def quality_report_weekly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Request the week that ended the day before, from Monday, once."""
    monday = f"{context.scheduled_execution_time - timedelta(days=7):%Y-%m-%d}"
    return dg.RunRequest(run_key=monday, partition_key=monday)
