"""What a Dagster instance knows to be wrong: checks that failed last, and jobs whose last run failed."""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord as Executed
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status

from neardup_platform.alerts.problems import Problem
from resources.own_runs import own_run_records

# Their runs end only when something is wrong, so a new one that has started means that it is over.
_ENDLESS = frozenset({"stream_worker"})
_ENDED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED)
_SHOWN_PARTITIONS = 5


def instance_problems(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    before: Mapping[str, Problem],
    url: str,
    label: str | None = None,
) -> list[Problem]:
    """Every problem there is now.

    Args:
        label: of this code location, as of `own_run_records`.
        before: those of the last look; a check that is being executed stays as it was.
        url: of the webserver, for links.
    """
    return [*_checks(instance, repository, before, url), *_runs(instance, repository, url, label)]


def _checks(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, before: Mapping[str, Problem], url: str
) -> Iterator[Problem]:
    keys = sorted(repository.asset_graph.asset_check_keys, key=str)
    executed = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for check in keys:
        name = f"check {check.asset_key.to_user_string()} {check.name}"
        link = f"{url}/assets/{'/'.join(check.asset_key.path)}?view=checks&checkDetail={check.name}"
        latest = executed.get(check)
        failed = _failed_partitions(instance, check)
        if latest is not None and latest.status is Status.PLANNED and name in before:
            yield before[name]
        elif failed:
            shown = ", ".join(failed[:_SHOWN_PARTITIONS]) + (" …" if len(failed) > _SHOWN_PARTITIONS else "")
            yield Problem(name, f"{name} is red for {shown}", _text(latest), link)
        elif latest is not None and latest.partition is None and latest.status is Status.FAILED:
            yield Problem(name, f"{name} is red", _text(latest), link)


def _failed_partitions(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> Sequence[str]:
    found = instance.event_log_storage.get_asset_check_partition_info([check])
    return sorted(
        (each.partition_key for each in found if each.partition_key and each.latest_execution_status is Status.FAILED),
        reverse=True,
    )


def _text(latest: Executed | None) -> str:
    found = latest.evaluation if latest is not None else None
    if found is None or found.passed:
        return ""
    step = found.metadata.get("next_step")
    return "\n".join(line for line in (found.description or "", str(step.value) if step else "") if line)


def _runs(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, url: str, label: str | None
) -> Iterator[Problem]:
    for job in sorted(repository.job_names):
        statuses = [*_ENDED, *((dg.DagsterRunStatus.STARTED,) if job in _ENDLESS else ())]
        records = own_run_records(instance, label, job, statuses, limit=1)
        if records and records[0].dagster_run.status is dg.DagsterRunStatus.FAILURE:
            run = records[0].dagster_run
            title = "a run of assets failed" if job.startswith("__") else f"the run of {job} failed"
            yield Problem(f"run {job}", title, _reason(instance, run.run_id), f"{url}/runs/{run.run_id}")


def _reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """What the first step that failed says."""
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE):
        failure = entry.get_dagster_event().step_failure_data
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            return failure.user_failure_data.description
        if failure.error is not None:
            return failure.error.message.strip()
    return ""
