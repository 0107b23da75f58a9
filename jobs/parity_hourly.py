"""The job and schedule that compare each hour with the other pipeline; stopped until a hand-over begins."""

from datetime import timedelta

import dagster as dg

from assets.handover_parity import handover_parity

parity_hourly = dg.define_asset_job(
    "parity_hourly",
    dg.AssetSelection.assets(handover_parity),
    description="Compares one hour of the other pipeline's output with our clusters.",
)


@dg.schedule(
    job=parity_hourly,
    # Time for the other pipeline to write its hour, and for ours to decide it.
    cron_schedule="20 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Start it for as long as you compare with another pipeline.",
)
def parity_hourly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Request the hour before the scheduled time, once."""
    ended = (context.scheduled_execution_time - timedelta(hours=1)).strftime("%Y-%m-%d-%H:00")
    return dg.RunRequest(run_key=ended, partition_key=ended)
