"""Partitions of assets that a failed run left unmaterialised. A run of another partition does not repair them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.tags import PARTITION_NAME_TAG

from resources.own_runs import own_run_records

# Failed runs that are looked at, the newest first.
_MOST_RUNS = 100


@dataclass(frozen=True, slots=True)
class FailedPartition:
    """A partition, and the newest run of one choice of assets that failed for it.

    Attributes:
        run: that failed.
        partition: its partition.
        assets: those that have not been materialised since, sorted; empty while another run is about to.
    """

    run: dg.DagsterRun
    partition: str
    assets: tuple[dg.AssetKey, ...]


def failed_partitions(instance: dg.DagsterInstance, label: str | None, since: datetime) -> Iterator[FailedPartition]:
    """The partitions that failed and were not materialised since, the newest run first.

    Args:
        label: of this code location, as of `own_run_records`.
        since: runs that were created earlier do not count; with time zone.
    """
    storage = instance.event_log_storage
    unfinished = cache(storage.get_latest_asset_partition_materialization_attempts_without_materializations)
    for record in own_run_records(instance, label, None, [dg.DagsterRunStatus.FAILURE], _MOST_RUNS, since):
        run = record.dagster_run
        partition = run.tags.get(PARTITION_NAME_TAG)
        if partition is None:
            continue
        attempts = {key: unfinished(key).get(partition, ("", 0))[0] for key in planned_assets(instance, run)}
        left = tuple(sorted((key for key, run_id in attempts.items() if run_id == run.run_id), key=str))
        if left or any(_in_progress(instance, run_id) for run_id in set(attempts.values()) - {""}):
            yield FailedPartition(run, partition, left)


def planned_assets(instance: dg.DagsterInstance, run: dg.DagsterRun) -> frozenset[dg.AssetKey]:
    """The assets that a run was to materialise."""
    planned = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED).records
    return frozenset(record.asset_key for record in planned if record.asset_key is not None)


def _in_progress(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished
