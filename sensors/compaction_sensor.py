"""The sensor that compacts a day of a log once all its hours are materialised, and again when one is again."""

import dagster as dg

compaction_sensor = dg.AutomationConditionSensorDefinition(
    "compaction_sensor",
    target=dg.AssetSelection.key_prefixes("logs_by_day"),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=300,
    description="Has a day of a log compacted once all of its hours are materialised, and again when one of them "
    "is materialised again.",
)
