"""The asset `logs/decisions`: every decision, hour by hour, as Parquet on S3; a check tells what is missing.

Kafka, Arrow and DuckDB are imported when an hour is materialised: the code location loads in half the time.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from assets.stream_worker import stream_worker_asset
from resources.platform import PlatformResource, logs_start, s3_resource

if TYPE_CHECKING:
    from neardup_platform.decisions_log.kafka_materialise import MaterialisedHour
    from neardup_platform.decisions_log.offset_continuity import Breaks

# end_offset: the hour under way can be materialised too, as often as one likes.
hours = dg.HourlyPartitionsDefinition(start_date=logs_start(), timezone="UTC", end_offset=1)


@dg.asset(
    key=["logs", "decisions"],
    partitions_def=hours,
    group_name="logs",
    kinds={"kafka", "parquet", "s3"},
    deps=[stream_worker_asset],
    retry_policy=dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL),
    description="The topic neardup.decisions of one hour, by Kafka timestamp, as Parquet on S3, one object "
    "per Kafka partition. Materialising again overwrites the same objects; the hour under way is written as "
    "far as it is.",
)
def decisions_log(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
    """Materialise one hour."""
    from neardup_platform.decisions_log.kafka_materialise import materialise_decisions

    settings = platform.settings()
    s3 = s3_resource(settings.s3).get_client()
    return dg.MaterializeResult(
        metadata=metadata(materialise_decisions(settings, s3, context.partition_time_window.start))
    )


@dg.asset_check(
    asset=decisions_log,
    partitions_def=hours,
    description="Within the hour each Kafka partition's offsets have no gaps, and they begin where those of "
    "the hour before ended, if that one is materialised. Each hour has a result of its own: one that is broken stays "
    "red until it is materialised again, whatever later hours say. The result names the offsets and the hours to "
    "materialise; check an hour again once they are. A warning is mended by that; an error may mean lost messages.",
)
def offsets_are_continuous(context: dg.AssetCheckExecutionContext, platform: PlatformResource) -> dg.AssetCheckResult:
    """Check one hour's objects as they lie in S3."""
    breaks = _breaks(platform, context.partition_key)
    lines = breaks.lines
    return dg.AssetCheckResult(
        passed=not lines,
        severity=dg.AssetCheckSeverity.ERROR if breaks.within else dg.AssetCheckSeverity.WARN,
        description=_report(list(lines), context.partition_key),
        metadata={"breaks": len(lines), "hour": context.partition_key},
    )


@dg.asset_check(
    asset=decisions_log,
    description="Red while the latest result of `offsets_are_continuous` is red for any hour, which it names: the "
    "asset shows the result of the hour checked last there, so a sound hour would hide a broken one before it.",
)
def no_hour_is_broken(context: dg.AssetCheckExecutionContext, platform: PlatformResource) -> dg.AssetCheckResult:
    """Check the hour of this run again, and what is recorded of all others."""
    recorded = context.instance.event_log_storage.get_asset_check_partition_info([offsets_are_continuous.check_key])
    broken = {
        info.partition_key
        for info in recorded
        if info.partition_key and info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
    }
    if context.has_partition_key:
        # The other check of this run may not have come to its result yet.
        broken.discard(context.partition_key)
        broken |= {context.partition_key} if _breaks(platform, context.partition_key).lines else set()
    return dg.AssetCheckResult(
        passed=not broken,
        description=f"broken: {', '.join(sorted(broken))}. For each, do what offsets_are_continuous says of it; this "
        "check turns green with the last of them"
        if broken
        else "no hour is broken",
        metadata={"broken_hours": len(broken)},
    )


def _breaks(platform: PlatformResource, partition_key: str) -> "Breaks":
    from neardup_platform.decisions_log.offset_continuity import find_breaks

    settings = platform.settings()
    hour = datetime.strptime(f"{partition_key}+0000", "%Y-%m-%d-%H:%M%z")
    return find_breaks(s3_resource(settings.s3).get_client(), settings.s3.bucket, hour)


def _report(breaks: list[str], hour: str) -> str:
    if not breaks:
        return f"no gaps in {hour}"
    return "\n".join([*breaks, f"Then materialise {hour} again, or run this check for it: it turns green."])


def metadata(written: "MaterialisedHour") -> dict[str, Any]:
    """What Dagster shows and plots of a materialised hour."""
    counts = written.counts
    ranges = [
        dg.TableRecord({"partition": r.partition, "first": r.first, "next": r.next, "records": r.count})
        for r in written.ranges
    ]
    shown: dict[str, Any] = {
        "uri": dg.MetadataValue.text(written.uri),
        "records": dg.MetadataValue.int(counts.records),
        "decisions": dg.MetadataValue.int(counts.decisions),
        "images": dg.MetadataValue.int(counts.images),
        "clusters_founded": dg.MetadataValue.int(counts.clusters_founded),
        "joined": dg.MetadataValue.int(counts.joined),
        "undecodable": dg.MetadataValue.int(counts.undecodable),
        "bytes": dg.MetadataValue.int(written.bytes),
        "offsets": dg.MetadataValue.table(ranges),
    }
    if written.preview:
        shown["preview"] = dg.MetadataValue.table([dg.TableRecord(row) for row in written.preview])
    return shown
