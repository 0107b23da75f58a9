"""What a Dagster instance knows to be wrong: failed checks, partitions and runs, and hours that are missing.

A failed partition is one problem: it is not told again as missing, nor are the measures that wait for it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import dagster as dg
from dagster import DagsterEventType
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.events import JobFailureData
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord as Executed
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._core.storage.tags import PARTITION_NAME_TAG

from neardup_platform.alerts.problems import Problem, shortened
from resources.failed_partitions import FailedPartition, failed_partitions, planned_assets
from resources.own_runs import own_run_records
from resources.partition_gaps import LOOKED_BACK, gaps_by_group

# Metadata of a check that repeats the results of the check that it names: of these people are told.
SUMMARY = "neardup/summary_of"
# Their runs end only when something is wrong, so a new one that has started means that it is over.
_ENDLESS = frozenset({"stream_worker"})
_ENDED = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED)
_SHOWN_PARTITIONS = 5
# A check without partitions stays red for so long: what ends between two looks is told, and flapping is one problem.
LINGERS_S = 120
# Executions of a check that are looked at for a failure.
_RECENT = 20
# What Dagster wraps around an error of a step.
_WRAPPER = "DagsterExecutionStepExecutionError"
_NAMED_ASSETS = 3
# Of runs of chosen assets.
_ASSET_JOB = "__ASSET_JOB"
# Runs of assets that are looked at: of each selection of assets, the last one counts.
_ASSET_RUNS = 100
# Hours are written two minutes after they end; after a stop, those that were missed are requested one after the other.
_STALE_AFTER_MS = 3_600_000


def instance_problems(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    before: Mapping[str, Problem],
    url: str,
    now: datetime,
    label: str | None = None,
) -> list[Problem]:
    """Every problem there is now.

    Args:
        before: those of the last look; a check that is being executed stays as it was.
        url: of the webserver, for links.
        now: with time zone.
        label: of this code location, as of `own_run_records`.
    """
    failed = list(failed_partitions(instance, label, now - LOOKED_BACK))
    return [
        *_checks(instance, repository, before, url, now.timestamp() - LINGERS_S),
        *_partitions(instance, failed, before, url),
        *_runs(instance, repository, url, label),
        *_asset_runs(instance, url, label),
        *_stale(instance, repository, failed, url, now),
    ]


def _checks(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    before: Mapping[str, Problem],
    url: str,
    since_s: float,
) -> Iterator[Problem]:
    keys = sorted(repository.asset_graph.asset_check_keys, key=str)
    executed = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for check in keys:
        if SUMMARY in (repository.asset_graph.get_check_spec(check).metadata or {}):
            continue
        name = f"check {check.asset_key.to_user_string()} {check.name}"
        link = f"{url}/assets/{'/'.join(check.asset_key.path)}?view=checks&checkDetail={check.name}"
        latest = executed.get(check)
        failed = _failed_partitions(instance, check)
        if latest is not None and latest.status is Status.PLANNED and name in before:
            yield before[name]
        elif failed:
            shown = ", ".join(failed[:_SHOWN_PARTITIONS]) + (" …" if len(failed) > _SHOWN_PARTITIONS else "")
            yield Problem(name, f"{name} is red for {shown}", _text(_last_of(instance, check, failed[0])), link)
        elif (red := _red(instance, latest, since_s)) is not None:
            yield Problem(name, f"{name} is red", _text(red), link)


def _red(instance: dg.DagsterInstance, latest: Executed | None, since_s: float) -> Executed | None:
    """The failure of a check without partitions that counts: the latest execution, or one since a moment."""
    if latest is None or latest.partition is not None or latest.status is Status.FAILED:
        return latest if latest is not None and latest.partition is None else None
    if latest.create_timestamp < since_s:
        return None
    recent = instance.event_log_storage.get_asset_check_execution_history(latest.key, limit=_RECENT)
    failed = (each for each in recent if each.status is Status.FAILED and each.create_timestamp >= since_s)
    return next(failed, None)


def _failed_partitions(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> Sequence[str]:
    found = instance.event_log_storage.get_asset_check_partition_info([check])
    return sorted(
        (each.partition_key for each in found if each.partition_key and each.latest_execution_status is Status.FAILED),
        reverse=True,
    )


def _last_of(instance: dg.DagsterInstance, check: dg.AssetCheckKey, partition: str) -> Executed | None:
    """The last execution of a check for a partition."""
    only = PartitionKeyFilter(key=partition)
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([check], partition_filter=only)
    return found.get(check)


def _text(latest: Executed | None) -> str:
    found = latest.evaluation if latest is not None else None
    if found is None or found.passed:
        return ""
    step = found.metadata.get("next_step")
    return shortened(found.description or "", str(step.value) if step else "")


def _partitions(
    instance: dg.DagsterInstance, failed: Sequence[FailedPartition], before: Mapping[str, Problem], url: str
) -> Iterator[Problem]:
    """Of each choice of assets and each partition, the newest run that failed; one that is retried stays as it was."""
    seen: set[str] = set()
    for each in failed:
        run = each.run
        key = f"run {_choice(run) if _is_ad_hoc(run) else run.job_name} for {each.partition}"
        if key in seen:
            continue
        if each.assets:
            seen.add(key)
            title = f"{_named(each.assets)} failed for {each.partition}"
            yield Problem(key, title, shortened(_reason(instance, run.run_id), _RUN_STEP), f"{url}/runs/{run.run_id}")
        elif key in before:
            seen.add(key)
            yield before[key]


def _runs(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, url: str, label: str | None
) -> Iterator[Problem]:
    for job in sorted(repository.job_names):
        if job.startswith("__"):
            continue
        statuses = [*_ENDED, *((dg.DagsterRunStatus.STARTED,) if job in _ENDLESS else ())]
        records = own_run_records(instance, label, job, statuses, limit=1)
        run = records[0].dagster_run if records else None
        if run is not None and _failed_as_a_whole(instance, run):
            title, step = f"the run of {job} failed", "" if job in _ENDLESS else _RUN_STEP
            text = shortened(_reason(instance, run.run_id), step)
            yield Problem(f"run {job}", title, text, f"{url}/runs/{run.run_id}")


def _asset_runs(instance: dg.DagsterInstance, url: str, label: str | None) -> Iterator[Problem]:
    """Of runs that materialise chosen assets, the last one of each choice, if it failed."""
    seen: set[str] = set()
    for record in own_run_records(instance, label, _ASSET_JOB, _ENDED, limit=_ASSET_RUNS):
        run = record.dagster_run
        chosen = _choice(run)
        if chosen in seen:
            continue
        seen.add(chosen)
        if _failed_as_a_whole(instance, run):
            title, text = f"a run of {chosen or 'assets'} failed", shortened(_reason(instance, run.run_id), _RUN_STEP)
            yield Problem(f"run of {chosen}", title, text, f"{url}/runs/{run.run_id}")


def _failed_as_a_whole(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether it failed, and not for a partition of an asset, of which `_partitions` tells."""
    if run.status is not dg.DagsterRunStatus.FAILURE:
        return False
    return PARTITION_NAME_TAG not in run.tags or not planned_assets(instance, run)


def _is_ad_hoc(run: dg.DagsterRun) -> bool:
    return run.job_name == _ASSET_JOB


def _choice(run: dg.DagsterRun) -> str:
    return _named(run.asset_selection or ())


def _named(assets: Iterable[dg.AssetKey]) -> str:
    names = sorted(key.to_user_string() for key in assets)
    more = f" and {len(names) - _NAMED_ASSETS} more" if len(names) > _NAMED_ASSETS else ""
    return ", ".join(names[:_NAMED_ASSETS]) + more


def _stale(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    failed: Sequence[FailedPartition],
    url: str,
    now: datetime,
) -> Iterator[Problem]:
    """Hours that should be materialised and are not, one problem for each group of assets."""
    told = {(key, each.partition) for each in failed for key in each.assets}
    for group, found in gaps_by_group(instance, repository, now, told):
        alike: dict[str, list[str]] = {}
        for key, parts in found.items():
            alike.setdefault(_first(parts, len(parts)), []).append(key.to_user_string())
        listed = [f"{', '.join(names)}: {parts}" for parts, names in alike.items()]
        asset = next(iter(found))
        yield Problem(
            f"stale {group}",
            f"partitions of {group} are not materialised",
            shortened("\n".join(listed), _STALE_STEP),
            f"{url}/assets/{'/'.join(asset.path)}?view=partitions",
            wait_ms=_STALE_AFTER_MS,
        )


_RUN_STEP = "See its log, correct the cause, then re-execute the run on its page"
_STALE_STEP = (
    "See whether the schedules and sensors run (Automation) and why runs failed, then materialise these partitions: on "
    "the page of the asset, Materialize, Missing partitions"
)


def _first(partitions: Sequence[str], count: int) -> str:
    return ", ".join(partitions[:_SHOWN_PARTITIONS]) + (f" … ({count} in all)" if count > _SHOWN_PARTITIONS else "")


def _reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """What the first step that failed says; of a run that failed before or outside its steps, what the run says."""
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE):
        failure = entry.get_dagster_event().step_failure_data
        if failure.user_failure_data is not None and failure.user_failure_data.description:
            return failure.user_failure_data.description
        if (error := failure.error) is not None:
            return (error.cause if error.cls_name == _WRAPPER and error.cause else error).message.strip()
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.RUN_FAILURE):
        event = entry.get_dagster_event()
        data = event.event_specific_data
        return data.error.message.strip() if isinstance(data, JobFailureData) and data.error else event.message or ""
    return ""
