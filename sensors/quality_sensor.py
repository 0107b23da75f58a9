"""The sensor that measures the quality of an hour once its logs are written, and again when they are written again."""

import dagster as dg

from resources.run_queue import AHEAD

quality_sensor = dg.AutomationConditionSensorDefinition(
    "quality_sensor",
    target=dg.AssetSelection.groups("quality"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    run_tags=AHEAD,
    description="Has the coverage, recall and drift of an hour measured once its logs are materialised, and again when "
    "one of them is materialised again.",
)
