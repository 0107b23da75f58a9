"""The runs of this code location: another one in the same Dagster instance may have jobs of the same names."""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG


def location_label(context: dg.SensorEvaluationContext) -> str | None:
    """How Dagster tags the runs of the location that a sensor is in; None where the sensor is called directly."""
    origin = context.code_location_origin
    if origin is None or context.repository_name is None:
        return None
    return f"{context.repository_name}@{origin.location_name}"


def own_run_records(
    instance: dg.DagsterInstance,
    label: str | None,
    job: str | None,
    statuses: Sequence[dg.DagsterRunStatus] = (),
    limit: int | None = None,
    since: datetime | None = None,
) -> list[dg.RunRecord]:
    """The newest runs, those of other locations left out.

    Args:
        label: of this location; None for the runs of all.
        job: its name; None for any.
        statuses: of the runs; empty for any.
        since: when they were created, with time zone; None for any time.
    """
    wanted = dg.RunsFilter(job_name=job, statuses=list(statuses), created_after=since)
    found = list(instance.get_run_records(wanted, limit=limit))
    if label is None:
        return found
    # `dagster job execute` runs a job without a location.
    alone = [record for record in found if record.dagster_run.remote_job_origin is None]
    ours = dg.RunsFilter(job_name=job, statuses=list(statuses), created_after=since, tags={REPOSITORY_LABEL_TAG: label})
    records = [*alone, *instance.get_run_records(ours, limit=limit)]
    return sorted(records, key=lambda record: record.storage_id, reverse=True)[:limit]
