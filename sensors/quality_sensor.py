"""The sensor that measures the quality of an hour once its logs are written, and again when they are written again."""

import dagster as dg

quality_sensor = dg.AutomationConditionSensorDefinition(
    "quality_sensor",
    target=dg.AssetSelection.groups("quality"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="Requests runs of the assets of the group `quality` whose automation condition holds.",
)
