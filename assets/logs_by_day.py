"""The assets `logs_by_day/…`: the hours of a log, compacted once a day is complete.

logs/… of 24 hours → **logs_by_day/…** → readers of any of these hours, who notice nothing
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.retries import retried
from assets.table_metadata import PARTITION_ROWS, URI
from assets.topic_logs import hours
from neardup_platform.topic_logs.topic_log import LOGS, TopicLog
from resources.code_references import code_reference
from resources.platform import PlatformResource, logs_start

if TYPE_CHECKING:
    from neardup_platform.topic_logs.s3_compaction import CompactedDay

days = dg.DailyPartitionsDefinition(start_date=logs_start()[: len("2025-01-01")], timezone="UTC")
# The first day of a platform may begin at noon.
_HOURS_OF_DAY = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
# Once every hour of a day is materialised, and again when one of them is materialised again.
_WHEN_COMPLETE = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window())


def day_asset(of: TopicLog) -> dg.AssetsDefinition:
    """The asset of the days of a log."""

    @dg.asset(
        key=["logs_by_day", of.name],
        pool="batch",
        partitions_def=days,
        group_name="logs_by_day",
        kinds={"parquet", "s3"},
        owners=["team:operations"],
        tags={"neardup/kind": "log"},
        metadata=code_reference(__file__),
        deps=[dg.AssetDep(dg.AssetKey(["logs", of.name]), partition_mapping=_HOURS_OF_DAY)],
        automation_condition=_WHEN_COMPLETE,
        description=f"The hours of a day of logs/{of.name} as few files in the order of hours, Kafka partitions and "
        "offsets, which are read back and compared before they count. The objects of the hours are deleted by the "
        "compaction of a later day, after logs.grace_h. An hour that is materialised again counts instead of its rows "
        "here, and the day is compacted again. A day of large objects (logs.compact_below_mb) stays as it is.",
    )
    def day(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        from neardup_platform.errors import PermanentError
        from neardup_platform.s3_client import open_s3
        from neardup_platform.topic_logs.s3_compaction import compact_day

        settings, window = platform.settings(), context.partition_time_window
        s3 = open_s3(settings.s3)
        with retried(context):
            try:
                done = compact_day(settings.logs, s3, settings.s3.bucket, of, _hours(window.start), datetime.now(UTC))
            except PermanentError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            return dg.MaterializeResult(metadata=metadata(done))

    return day


def metadata(done: "CompactedDay") -> dict[str, Any]:
    """Dagster metadata of a day."""
    shown: dict[str, Any] = {
        "state": _state(done),
        "objects_of_hours": dg.MetadataValue.int(done.parts),
        "files": dg.MetadataValue.int(done.files),
        "bytes": dg.MetadataValue.int(done.bytes),
        "deleted": dg.MetadataValue.int(done.deleted),
    }
    return {URI: done.uri, PARTITION_ROWS: done.rows, **shown} if done.files else shown


def _state(done: "CompactedDay") -> str:
    if not done.files:
        return "left as hours: the objects are large enough"
    return "compacted now" if done.written else "compacted before, and no hour has changed since"


def _hours(day: datetime) -> list[datetime]:
    """The hours of a day since the logs begin."""
    return [hour for hour in (day + n * timedelta(hours=1) for n in range(24)) if hour >= hours.start]


logs_by_day = [day_asset(log) for log in LOGS]
