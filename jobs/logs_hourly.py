"""The job and schedule that materialise and check each hour of every log two minutes after it has ended."""

from datetime import timedelta

import dagster as dg

from assets.decisions_log import decisions_log
from assets.topic_logs import topic_logs

logs_hourly = dg.define_asset_job(
    "logs_hourly",
    dg.AssetSelection.assets(decisions_log, *topic_logs),
    description="Materialises and checks one hour of every log.",
)


@dg.schedule(
    job=logs_hourly,
    # Two minutes later, what was decided in the last second of the hour has long been published.
    cron_schedule="2 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def logs_hourly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Request the hour before the scheduled time, once."""
    ended = (context.scheduled_execution_time - timedelta(hours=1)).strftime("%Y-%m-%d-%H:00")
    return dg.RunRequest(run_key=ended, partition_key=ended)
