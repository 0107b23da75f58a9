"""The asset `stream/snapshots`: a partition for each snapshot on S3, and a check that it is whole.

Job `snapshot` → worker → S3 → **partition, materialization, check**. A run that takes a snapshot records it at once.
The sensor `snapshots_sensor` records those taken by command line, and drops the partitions of those that were deleted.
boto3 is imported when S3 is read.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
from pydantic import Field

from assets.stream_worker import stream_worker_asset
from assets.table_metadata import ROWS, URI, table
from resources.code_references import code_reference
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from neardup_platform.settings import Settings
    from neardup_platform.stream.snapshots.s3_snapshot_verification import Verified
    from neardup_platform.stream.snapshots.snapshot_manifest import Manifest

# Names of partitions belong to the whole instance, and the sensor deletes those that it does not know.
snapshot_partitions = dg.DynamicPartitionsDefinition(name="neardup_snapshots")

snapshots_asset = dg.AssetSpec(
    key=["stream", "snapshots"],
    partitions_def=snapshot_partitions,
    group_name="stream",
    kinds={"rocksdb", "s3"},
    owners=["team:operations"],
    tags={"neardup/kind": "operation"},
    metadata=code_reference(__file__),
    deps=[stream_worker_asset],
    description="Consistent copies of the worker's store on S3, a partition for each. The key is the id that "
    "`rollback` takes. The job `snapshot` takes one, the schedule `snapshot_hourly` every hour. To return to one, "
    "launch the job `rollback` with its partition.",
)


class PartitionChanges(NamedTuple):
    """Partitions to add and to delete, oldest first."""

    added: list[str]
    deleted: list[str]


class VerificationConfig(dg.Config):
    """How thorough the check is."""

    read_files: bool = Field(
        False,
        description="Read every byte and compare it with its SHA-256, which takes as long as a download. false: "
        "compare the sizes.",
    )


def partition_changes(recorded: Collection[str], stored: Collection[str]) -> PartitionChanges:
    """What makes the recorded partitions those of the snapshots on S3. Pure."""
    return PartitionChanges(sorted(set(stored) - set(recorded)), sorted(set(recorded) - set(stored)))


def drop_deleted(instance: dg.DagsterInstance, stored: Collection[str]) -> list[str]:
    """Delete the partitions of snapshots that are not on S3 any more; returns their ids."""
    name = _name()
    deleted = partition_changes(instance.get_dynamic_partitions(name), stored).deleted
    for snapshot in deleted:
        instance.delete_dynamic_partition(name, snapshot)
    return deleted


def add_requests(changes: PartitionChanges) -> list[Any]:
    """The changes as a sensor requests them."""
    requests: list[Any] = []
    if changes.added:
        requests.append(snapshot_partitions.build_add_request(changes.added))
    if changes.deleted:
        requests.append(snapshot_partitions.build_delete_request(changes.deleted))
    return requests


def record_snapshot(
    context: dg.OpExecutionContext, settings: "Settings", manifest: "Manifest", found: "Verified", **figures: float
) -> None:
    """Record a snapshot that a run has taken: its partition, its materialization and the verdict of its check."""
    context.instance.add_dynamic_partitions(_name(), [manifest.snapshot])
    context.log_event(materialization(settings, manifest, **figures))
    if not is_judged(context.instance, manifest.snapshot):
        context.instance.report_runless_asset_event(evaluation(manifest.snapshot, found))


def is_judged(instance: dg.DagsterInstance, snapshot: str) -> bool:
    """Whether a partition has a verdict. Dagster records one outside of a run only once for each partition."""
    judged = instance.event_log_storage.get_asset_check_partition_info([snapshot_is_whole.check_key])
    return any(info.partition_key == snapshot for info in judged)


def materialization(settings: "Settings", manifest: "Manifest", **figures: float) -> dg.AssetMaterialization:
    """A snapshot as the event that Dagster shows and plots.

    Args:
        settings: resolved; names the bucket.
        figures: what only its taker knows: new bytes, seconds.
    """
    offsets: list[dict[str, str | int]] = [
        {"partition": place, "next_offset": offset} for place, offset in sorted(manifest.positions.items())
    ]
    uri = f"s3://{settings.s3.bucket}/snapshots/{manifest.snapshot}/manifest.json"
    metadata: Mapping[str, Any] = {
        URI: uri,
        ROWS: manifest.images,
        "taken": dg.MetadataValue.timestamp(manifest.taken_ms / 1_000),
        "taken_by": manifest.issued_by,
        "images": manifest.images,
        "clusters": manifest.clusters,
        "bytes": manifest.bytes,
        "files": len(manifest.files),
        "digest": manifest.digest,
        "last_decision": manifest.sequence,
        "classifier_version": manifest.classifier_version,
        "terms_version": manifest.terms_version or "none yet",
        "scheduled": manifest.scheduled,
        "positions": table(offsets),
        **figures,
    }
    return dg.AssetMaterialization(snapshots_asset.key, partition=manifest.snapshot, metadata=metadata)


def evaluation(snapshot: str, found: "Verified") -> dg.AssetCheckEvaluation:
    """The verdict of `snapshot_is_whole` on a snapshot, for a run or a sensor to record."""
    shown = _verdict(found)
    return dg.AssetCheckEvaluation(snapshots_asset.key, "snapshot_is_whole", partition=snapshot, **shown)


@dg.asset_check(
    asset=snapshots_asset.key,
    partitions_def=snapshot_partitions,
    description="The manifest can be read, and every file that it names is on S3 with its size; with read_files, "
    "with its bytes. A snapshot is checked when it is recorded; execute it for a partition. "
    "If it fails, a rollback to it is refused before anything is replaced: take another snapshot and delete this one.",
)
def snapshot_is_whole(
    context: dg.AssetCheckExecutionContext, config: VerificationConfig, platform: PlatformResource
) -> dg.AssetCheckResult:
    """Check one snapshot again."""
    from neardup_platform.operations.s3_snapshots_kept import verify

    if not context.has_partition_key:
        # Dagster cannot record a result for all partitions of a partitioned check.
        raise dg.Failure(
            "no snapshot is chosen: execute this check for a partition (in the launchpad, or its tab Partitions)",
            allow_retries=False,
        )
    return dg.AssetCheckResult(
        **_verdict(verify(platform.settings(), context.partition_key, read_files=config.read_files))
    )


def _verdict(found: "Verified") -> dict[str, Any]:
    from neardup_platform.stream.snapshots.s3_snapshot_verification import RECOVERY

    metadata = {"next_step": dg.MetadataValue.md(RECOVERY)} if found.damage else {}
    return {
        "passed": not found.damage,
        "severity": dg.AssetCheckSeverity.ERROR,
        "description": found.summary,
        "metadata": metadata,
    }


def _name() -> str:
    return str(snapshot_partitions.name)
