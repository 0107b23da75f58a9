"""The job and schedule that materialise and check each hour of every log two minutes after it has ended."""

from datetime import timedelta

import dagster as dg

from assets.decisions_log import decisions_log
from assets.topic_logs import hours, topic_logs
from resources.partition_gaps import gaps
from resources.run_queue import AHEAD, in_hand

# Hours that one tick requests, of those that were missed; the next tick requests the next ones.
MOST_MISSED = 24

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
    description="Requests the logs of the hour that has ended, ahead of what waits, and of hours that were missed "
    "while Dagster was down, but for those that a run or a backfill has in hand.",
)
def logs_hourly_schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """Request the hour before the scheduled time, once, and hours that were missed while Dagster was down."""
    ended = (context.scheduled_execution_time - timedelta(hours=1)).strftime("%Y-%m-%d-%H:00")
    missed = gaps(context.instance, decisions_log.key, hours, context.scheduled_execution_time)
    taken = in_hand(context.instance, decisions_log.key, logs_hourly.name, missed)
    left = [each for each in missed if each not in {*taken, ended}][:MOST_MISSED]
    # Of a run key there is one run: an hour whose run failed is not requested again.
    return [
        # It would otherwise wait for a backfill of a week, or in it.
        dg.RunRequest(run_key=ended, partition_key=ended, tags=AHEAD),
        *(dg.RunRequest(run_key=each, partition_key=each) for each in left),
    ]
