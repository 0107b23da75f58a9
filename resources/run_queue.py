"""What waits in Dagster's queue, or is at work: which partitions nobody needs to request, and which runs go first.

Dagster drops a request only if an earlier run of the same schedule or sensor has its run key. Runs that people launch,
and those of backfills, have none.
"""

from collections.abc import Collection

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.tags import PARTITION_NAME_TAG

# Tags of a run that goes before those without, such as a backfill's.
AHEAD = {"dagster/priority": "1"}
IN_PROGRESS = (
    *(dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING),
    *(dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING),
)


def in_hand(instance: dg.DagsterInstance, asset: dg.AssetKey, job: str, partitions: Collection[str]) -> set[str]:
    """Those of these partitions that a run in progress materialises, or one that a backfill has yet to launch.

    Args:
        job: one that materialises the asset.
    """
    return set(partitions) & (_of_runs(instance, asset, job, partitions) | _of_backfills(instance, asset))


def _of_runs(instance: dg.DagsterInstance, asset: dg.AssetKey, job: str, partitions: Collection[str]) -> set[str]:
    wanted = dg.RunsFilter(tags={PARTITION_NAME_TAG: list(partitions)}, statuses=list(IN_PROGRESS))
    return {
        run.tags[PARTITION_NAME_TAG]
        for run in (instance.get_runs(wanted) if partitions else ())
        if run.job_name == job or asset in (run.asset_selection or ())
    }


def _of_backfills(instance: dg.DagsterInstance, asset: dg.AssetKey) -> set[str]:
    """Those of backfills that are not over, without those that failed."""
    found: set[str] = set()
    for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])):
        data = backfill.asset_backfill_data
        if data is not None and asset in data.target_subset.asset_keys:
            left = data.target_subset - data.failed_and_downstream_subset
            found |= set(left.get_partitions_subset(asset).get_partition_keys()) if asset in left.asset_keys else set()
    return found
