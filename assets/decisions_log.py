"""The asset `logs/decisions`: every decision, hour by hour, as Parquet on S3, with checks for gaps.

Kafka, Arrow and DuckDB are imported when an hour is materialised, which halves the load time of the code location.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from assets.stream_worker import stream_worker_asset
from assets.table_metadata import PARTITION_ROWS, URI, columns
from resources.code_references import code_reference
from resources.platform import PlatformResource, logs_start, s3_resource

if TYPE_CHECKING:
    from neardup_platform.decisions_log.kafka_materialise import MaterialisedHour
    from neardup_platform.decisions_log.offset_continuity import Breaks

# end_offset: the current hour can be materialised too, any number of times.
hours = dg.HourlyPartitionsDefinition(start_date=logs_start(), timezone="UTC", end_offset=1)


@dg.asset(
    key=["logs", "decisions"],
    pool="batch",
    partitions_def=hours,
    group_name="logs",
    kinds={"kafka", "parquet", "s3"},
    owners=["team:operations"],
    tags={"neardup/kind": "log"},
    metadata=code_reference(__file__),
    # A run for each hour: one that Kafka no longer holds fails alone.
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
    deps=[stream_worker_asset],
    retry_policy=dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL),
    description="The topic neardup.decisions of one hour, by Kafka timestamp, as Parquet on S3, one object per Kafka "
    "partition. Materialising an hour again overwrites the same objects; the current hour is written up to now.",
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
    description="Within the hour the offsets of each Kafka partition have no gaps, and they start where those of the "
    "previous hour ended, if that hour is materialised. Each hour has its own result: a broken hour stays red until it "
    "is materialised again, whatever the result of later hours. The result names the offsets and the hours to "
    "materialise; after that, check the hour again. A warning needs nothing more; an error may mean lost messages.",
)
def offsets_are_continuous(context: dg.AssetCheckExecutionContext, platform: PlatformResource) -> dg.AssetCheckResult:
    """Check the objects of one hour in S3."""
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
    description="Red while the latest result of `offsets_are_continuous` is red for any hour; names those hours. "
    "The asset shows only the result of the last checked hour, so a good hour would hide an earlier broken one.",
)
def no_hour_is_broken(context: dg.AssetCheckExecutionContext, platform: PlatformResource) -> dg.AssetCheckResult:
    """Check the hour of this run again, and the recorded results of all others."""
    recorded = context.instance.event_log_storage.get_asset_check_partition_info([offsets_are_continuous.check_key])
    broken = {
        info.partition_key
        for info in recorded
        if info.partition_key and info.latest_execution_status is AssetCheckExecutionRecordStatus.FAILED
    }
    if context.has_partition_key:
        # The other check of this run may not have finished yet.
        broken.discard(context.partition_key)
        broken |= {context.partition_key} if _breaks(platform, context.partition_key).lines else set()
    return dg.AssetCheckResult(
        passed=not broken,
        description=f"broken: {', '.join(sorted(broken))}. For each hour, follow the result of offsets_are_continuous; "
        "this check turns green when all are repaired"
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
    return "\n".join([*breaks, f"Then materialise {hour} again, or run this check for it: it then turns green."])


def metadata(written: "MaterialisedHour") -> dict[str, Any]:
    """Dagster metadata and plots of a materialised hour."""
    from neardup_platform.decisions_log.decision_rows import DESCRIBED, SCHEMA, column_types

    counts = written.counts
    ranges = [
        dg.TableRecord({"partition": r.partition, "first": r.first, "next": r.next, "records": r.count})
        for r in written.ranges
    ]
    shown: dict[str, Any] = {
        URI: written.uri,
        PARTITION_ROWS: counts.records,
        **columns(column_types(SCHEMA), DESCRIBED),
        "records": dg.MetadataValue.int(counts.records),
        "decisions": dg.MetadataValue.int(counts.decisions),
        "images": dg.MetadataValue.int(counts.images),
        "clusters_founded": dg.MetadataValue.int(counts.clusters_founded),
        "joined": dg.MetadataValue.int(counts.joined),
        "held_apart": dg.MetadataValue.int(counts.held_apart),
        "quarantined": dg.MetadataValue.int(counts.quarantined),
        "undistinctive": dg.MetadataValue.int(counts.undistinctive),
        "undecodable": dg.MetadataValue.int(counts.undecodable),
        "bytes": dg.MetadataValue.int(written.bytes),
        "offsets": dg.MetadataValue.table(ranges),
    }
    if (wrong := written.wrong_matches) is not None:
        shown["wrong_matches_per_1000"] = dg.MetadataValue.float(wrong.per_1000)
        shown["wrong_matches_per_1000_low"] = dg.MetadataValue.float(wrong.per_1000_low)
        shown["wrong_matches_per_1000_high"] = dg.MetadataValue.float(wrong.per_1000_high)
    if written.preview:
        shown["preview"] = dg.MetadataValue.table([dg.TableRecord(row) for row in written.preview])
    return shown
