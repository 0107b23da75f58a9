"""The sensor that keeps the partitions of `stream/snapshots` those of the snapshots on S3."""

import time

import dagster as dg

from assets.snapshots import (
    PartitionChanges,
    add_requests,
    evaluation,
    is_judged,
    materialization,
    partition_changes,
    snapshot_partitions,
)
from resources.platform import PlatformResource

# A run that takes a snapshot records it itself, with figures that only it knows.
_LEFT_TO_ITS_RUN_S = 60.0
# Recorded in one tick; the next one continues.
MOST_RECORDED = 20


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Records snapshots that were taken by command line as partitions of stream/snapshots, and drops the "
    "partitions of snapshots that were deleted.",
)
def snapshots_sensor(
    context: dg.SensorEvaluationContext, platform: PlatformResource
) -> dg.SensorResult | dg.SkipReason:
    """Compare once."""
    from neardup_platform.errors import BadArtefact, NotFound, ServerUnavailable
    from neardup_platform.operations.s3_snapshots_kept import stored, verify

    try:
        settings = platform.settings()
        recorded = context.instance.get_dynamic_partitions(str(snapshot_partitions.name))
        changes = partition_changes(recorded, stored(settings))
        old = [each for each in changes.added if _is_old(each)]
        found = {each: verify(settings, each, read_files=False) for each in old[-MOST_RECORDED:]}
    except (ServerUnavailable, NotFound, BadArtefact) as error:
        return dg.SkipReason(f"S3 cannot be compared with the partitions: {error}")
    known = {each: verified.manifest for each, verified in found.items() if verified.manifest is not None}
    if not known and not changes.deleted:
        return dg.SkipReason("every snapshot on S3 has its partition")
    return dg.SensorResult(
        dynamic_partitions_requests=add_requests(PartitionChanges(list(known), changes.deleted)),
        asset_events=[
            *(materialization(settings, manifest) for manifest in known.values()),
            *(evaluation(each, found[each]) for each in known if not is_judged(context.instance, each)),
        ],
    )


def _is_old(snapshot: str) -> bool:
    """Whether its id, which begins with the time of its command, is old enough."""
    return time.time() - int(snapshot.split("-", maxsplit=1)[0]) / 1_000 > _LEFT_TO_ITS_RUN_S
