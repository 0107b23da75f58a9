"""The assets `logs/…`: each topic of the platform, hour by hour, as Parquet on S3, with checks for gaps.

Kafka, Arrow and DuckDB are imported when an hour is materialised, which halves the load time of the code location.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from assets.retries import retried
from assets.stream_worker import stream_worker_asset
from assets.table_metadata import PARTITION_ROWS, URI, columns
from neardup_platform.topic_logs.column_descriptions import DESCRIBED
from neardup_platform.topic_logs.topic_log import DECISIONS, LOGS, TopicLog
from resources.code_references import code_reference
from resources.instance_problems import SUMMARY
from resources.platform import PlatformResource, logs_start

if TYPE_CHECKING:
    from neardup_platform.settings import Settings
    from neardup_platform.topic_logs.kafka_materialise import MaterialisedHour
    from neardup_platform.topic_logs.offset_continuity import Breaks

Metadata = dict[str, Any]
# From settings, a client of S3 and the start of an hour: materialise it, and describe what was written.
Materialise = Callable[["Settings", Any, datetime], Metadata]

# end_offset: the current hour can be materialised too, any number of times.
# Without a backfill policy, a backfill launches a run for each of them, so that an hour that Kafka no longer holds
# fails alone. `multi_run` gives a run a range instead of a key, even of one hour, and checks of an hour need the key.
hours = dg.HourlyPartitionsDefinition(start_date=logs_start(), timezone="UTC", end_offset=1)


def log_asset(of: TopicLog, materialise: Materialise, file: str) -> dg.AssetsDefinition:
    """The asset of a log.

    Args:
        file: where `materialise` is written, for the link to the code.
    """

    @dg.asset(
        key=["logs", of.name],
        pool="batch",
        partitions_def=hours,
        group_name="logs",
        kinds={"kafka", "parquet", "s3"},
        owners=["team:operations"],
        tags={"neardup/kind": "log"},
        metadata=code_reference(file),
        deps=[stream_worker_asset],
        description=f"Each row is {of.about}. The topic {of.topic} of one hour, by Kafka timestamp, as Parquet on S3, "
        "one object per Kafka partition. Materialising an hour again writes the same objects; the current hour is "
        "written up to now. An hour that Kafka no longer holds fails, and nothing is written.",
    )
    def log(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        from neardup_platform.errors import NotFound
        from neardup_platform.s3_client import open_s3

        settings = platform.settings()
        s3 = open_s3(settings.s3)
        with retried(context):
            try:
                return dg.MaterializeResult(metadata=materialise(settings, s3, context.partition_time_window.start))
            except NotFound as error:
                raise dg.Failure(str(error), allow_retries=False) from error

    return log


def log_checks(of: TopicLog, asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """The checks of a log, in one step: whether an hour is whole, and whether any hour is not."""
    hour_is_whole = dg.AssetCheckSpec(
        "offsets_are_continuous",
        asset=asset,
        partitions_def=hours,
        description="Within the hour the offsets of each Kafka partition have no gaps, and they start where those of "
        "the previous hour ended, if that hour is materialised. Each hour has its own result: a broken hour stays red "
        "until it is materialised again, whatever the result of later hours. The result names the offsets and the "
        "hours to materialise; after that, check the hour again. A warning needs nothing more; an error may mean lost "
        "messages.",
    )
    all_are_whole = dg.AssetCheckSpec(
        "no_hour_is_broken",
        asset=asset,
        description="Red while the latest result of offsets_are_continuous is red for any hour; names those hours. "
        "The asset shows only the result of the last checked hour, so a good hour would hide an earlier broken one.",
        metadata={SUMMARY: hour_is_whole.name},
    )

    @dg.multi_asset_check(name=f"logs__{of.name}__is_whole", specs=[hour_is_whole, all_are_whole], can_subset=True)
    def is_whole(context: dg.AssetCheckExecutionContext, platform: PlatformResource) -> Iterator[dg.AssetCheckResult]:
        """Read the objects of the hour of this run in S3 once, and the recorded results of all others."""
        hour = context.partition_key if context.has_partition_key else None
        breaks = _breaks(of, platform, hour) if hour else None
        if all_are_whole.key in context.selected_asset_check_keys:
            broken = _broken_hours(context.instance, hour_is_whole.key)
            if hour and breaks:
                broken = broken - {hour} | ({hour} if breaks.lines else set())
            yield _all_hours(all_are_whole.key, broken)
        if hour_is_whole.key in context.selected_asset_check_keys:
            if not hour or not breaks:
                # Dagster cannot record a result for all partitions of a partitioned check.
                raise dg.Failure(
                    "no hour is chosen: execute this check for a partition (in the launchpad, or its tab Partitions)",
                    allow_retries=False,
                )
            yield _one_hour(hour_is_whole.key, breaks, hour)

    return is_whole


def log_metadata(of: TopicLog, written: "MaterialisedHour") -> Metadata:
    """Dagster metadata of a materialised hour of any log."""
    ranges = [
        dg.TableRecord({"partition": r.partition, "first": r.first, "next": r.next, "records": r.count})
        for r in written.ranges
    ]
    return {
        URI: written.uri,
        PARTITION_ROWS: written.records,
        **columns(((field.name, str(field.type)) for field in of.schema), DESCRIBED[of.name]),
        "records": dg.MetadataValue.int(written.records),
        "undecodable": dg.MetadataValue.int(written.undecodable),
        "bytes": dg.MetadataValue.int(written.bytes),
        "offsets": dg.MetadataValue.table(ranges),
    }


def _plain(of: TopicLog) -> Materialise:
    def materialise_hour(settings: "Settings", s3: Any, hour: datetime) -> Metadata:
        from neardup_platform.topic_logs.kafka_materialise import materialise

        return log_metadata(of, materialise(settings, s3, of, hour))

    return materialise_hour


def _breaks(of: TopicLog, platform: PlatformResource, partition_key: str) -> "Breaks":
    from neardup_platform.s3_client import open_s3
    from neardup_platform.topic_logs.offset_continuity import find_breaks

    settings = platform.settings()
    hour = datetime.strptime(f"{partition_key}+0000", "%Y-%m-%d-%H:%M%z")
    return find_breaks(open_s3(settings.s3), settings.s3.bucket, of, hour)


def _broken_hours(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> set[str]:
    """The hours whose last recorded result is red."""
    return {
        info.partition_key
        for info in instance.event_log_storage.get_asset_check_partition_info([check])
        if info.partition_key and info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
    }


def _one_hour(check: dg.AssetCheckKey, breaks: "Breaks", hour: str) -> dg.AssetCheckResult:
    lines = breaks.lines
    advice = f"Then materialise {hour} again, or run this check for it: it then turns green."
    return dg.AssetCheckResult(
        passed=not lines,
        asset_key=check.asset_key,
        check_name=check.name,
        severity=dg.AssetCheckSeverity.ERROR if breaks.within else dg.AssetCheckSeverity.WARN,
        description="\n".join([*lines, advice]) if lines else f"no gaps in {hour}",
        metadata={"breaks": len(lines), "hour": hour},
    )


def _all_hours(check: dg.AssetCheckKey, broken: set[str]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not broken,
        asset_key=check.asset_key,
        check_name=check.name,
        description=f"broken: {', '.join(sorted(broken))}. For each hour, follow the result of "
        "offsets_are_continuous; this check turns green when all are repaired"
        if broken
        else "no hour is broken",
        metadata={"broken_hours": len(broken)},
    )


# That of decisions says more: assets/decisions_log.py.
_others = {of: log_asset(of, _plain(of), __file__) for of in LOGS if of is not DECISIONS}
topic_logs = list(_others.values())
topic_log_checks = [log_checks(of, asset) for of, asset in _others.items()]
