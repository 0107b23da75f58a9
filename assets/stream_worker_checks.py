"""The checks of `stream/worker`: what must hold for the worker's figures, with what to do where it does not.

The run that supervises the worker records a check when its verdict changes, and when a process ends unplanned, so that
no run is needed for it; a run of the checks judges the newest figures again. That there are any is for the sensor to
record, which runs when the worker does not.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from assets.stream_worker import stream_worker_asset
from neardup_platform.supervise.worker_checks import CHECKS, REPORTS, Verdict, judge, judge_end, judge_silence
from resources.pause_sign import paused_anywhere_by
from resources.platform import PlatformResource

_STATUS = {True: AssetCheckExecutionRecordStatus.SUCCEEDED, False: AssetCheckExecutionRecordStatus.FAILED}


class ChangedVerdicts:
    """Which verdicts differ from those of the report before; all of them at the first report."""

    def __init__(self) -> None:
        self._before: Mapping[str, float] = {}
        self._problems: dict[str, bool] = {}

    def of(self, metrics: Mapping[str, float]) -> list[dg.AssetCheckEvaluation]:
        """The evaluations to record after a report of the worker."""
        verdicts, self._before = judge(metrics, self._before), metrics
        changed = [v for v in verdicts if self._problems.get(v.check.name) != (v.problem is not None)]
        self._problems = {v.check.name: v.problem is not None for v in verdicts}
        return [_evaluation(verdict) for verdict in changed]

    def ended(self, what: str) -> dg.AssetCheckEvaluation:
        """The evaluation to record when a worker process has ended unplanned; the next report is its end."""
        verdict = judge_end(what)
        self._problems = {**self._problems, verdict.check.name: True}
        return _evaluation(verdict)


@dg.multi_asset_check(
    name="stream_worker_checks",
    specs=[
        dg.AssetCheckSpec(check.name, asset=stream_worker_asset.key, description=check.claim)
        for check in (*CHECKS, REPORTS)
    ],
    description="Judges the newest report of the worker again. A check is also recorded, without a run, when its "
    "verdict changes.",
    # The UI executes a check alone only if that is possible.
    can_subset=True,
)
def stream_worker_checks(
    context: dg.AssetCheckExecutionContext, platform: PlatformResource
) -> Iterator[dg.AssetCheckResult]:
    """Judge the worker's newest report again."""
    records = context.instance.fetch_observations(stream_worker_asset.key, limit=2).records
    reports = [_figures(record.asset_observation) for record in records if record.asset_observation]
    if not reports:
        raise dg.Failure(
            "the worker has not reported yet: its run `stream_worker` does when it has started", allow_retries=False
        )
    silent_s = 0.0 if paused_anywhere_by(context.instance, platform.home()) else time.time() - records[0].timestamp
    for verdict in (*judge(reports[0], reports[1] if len(reports) > 1 else {}), judge_silence(silent_s)):
        if dg.AssetCheckKey(stream_worker_asset.key, verdict.check.name) not in context.selected_asset_check_keys:
            continue
        yield dg.AssetCheckResult(check_name=verdict.check.name, asset_key=stream_worker_asset.key, **_shown(verdict))


def last_report_s(instance: dg.DagsterInstance) -> float:
    """When the worker's newest report was recorded, Unix seconds; 0 if there is none."""
    records = instance.fetch_observations(stream_worker_asset.key, limit=1).records
    return records[0].timestamp if records else 0.0


def record_silence(instance: dg.DagsterInstance, silent_s: float) -> None:
    """Record the check `reports` if its verdict differs from the recorded one.

    Args:
        silent_s: for how long no report came; 0 for a worker that is paused.
    """
    verdict = judge_silence(silent_s)
    key = dg.AssetCheckKey(stream_worker_asset.key, verdict.check.name)
    recorded = instance.event_log_storage.get_latest_asset_check_execution_by_key([key]).get(key)
    status = _STATUS[verdict.problem is None]
    if recorded is None or recorded.status not in (status, AssetCheckExecutionRecordStatus.PLANNED):
        instance.report_runless_asset_event(_evaluation(verdict))


def _figures(seen: dg.AssetObservation) -> dict[str, float]:
    return {name: value.value for name, value in seen.metadata.items() if isinstance(value.value, int | float)}


def _evaluation(verdict: Verdict) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(stream_worker_asset.key, verdict.check.name, **_shown(verdict))


def _shown(verdict: Verdict) -> dict[str, Any]:
    severity = dg.AssetCheckSeverity.ERROR if verdict.check.severe else dg.AssetCheckSeverity.WARN
    if verdict.problem is None:
        return {"passed": True, "severity": severity, "description": verdict.check.claim}
    metadata = {"next_step": dg.MetadataValue.md(verdict.check.next_step)}
    return {"passed": False, "severity": severity, "description": verdict.problem, "metadata": metadata}
