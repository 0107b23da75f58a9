"""The job and schedule that materialise and check each hour two minutes after it has ended."""

from datetime import timedelta

import dagster as dg

from assets.decisions_log import decisions_log

decisions_log_hourly = dg.define_asset_job(
    "decisions_log_hourly",
    dg.AssetSelection.assets(decisions_log),
    description="Materialises and checks one hour of logs/decisions.",
)


@dg.schedule(
    job=decisions_log_hourly,
    # Two minutes later, what was decided in the last second of the hour has long been published.
    cron_schedule="2 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def decisions_log_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Request the hour before the scheduled time, once."""
    ended = (context.scheduled_execution_time - timedelta(hours=1)).strftime("%Y-%m-%d-%H:00")
    return dg.RunRequest(run_key=ended, partition_key=ended)
