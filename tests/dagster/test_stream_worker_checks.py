"""*Execute* of the worker's checks: the newest report is judged again, and how old it is."""

import time
from pathlib import Path

import dagster as dg
import pytest

from assets.stream_worker import observation, stream_worker_asset
from assets.stream_worker_checks import stream_worker_checks
from neardup_platform.supervise.heartbeat import pause
from resources.platform import PlatformResource


def executed(instance: dg.DagsterInstance, selected: dg.AssetSelection | None = None) -> dict[str, bool]:
    defs = dg.Definitions(
        assets=[stream_worker_asset],
        asset_checks=[stream_worker_checks],
        jobs=[dg.define_asset_job("checks", selected or dg.AssetSelection.checks(stream_worker_checks))],
        resources={"platform": PlatformResource()},
    )
    result = defs.resolve_job_def("checks").execute_in_process(instance=instance)
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def test_a_report_is_judged_by_its_figures_and_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDUP_HOME", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(observation({"images": 1, "index_problem": 1}))
        now = executed(instance)
        assert len(now) == 12
        assert {name for name, passed in now.items() if not passed} == {"writes_its_index"}
        alone = dg.AssetSelection.checks(dg.AssetCheckKey(stream_worker_asset.key, "keeps_up"))
        assert executed(instance, alone) == {"keeps_up": True}
        later_s = time.time() + 1_000
        monkeypatch.setattr("assets.stream_worker_checks.time.time", lambda: later_s)
        assert not executed(instance)["reports"]
        pause(tmp_path, by="Ada")
        assert executed(instance)["reports"]


def test_a_page_begins_with_what_is_looked_for_and_lacks_constants() -> None:
    shown = observation({"clusters": 2, "waiting": 0, "hashes": 1, "lag": 7, "ordinals_limit": 2**32, "p99_ms": 40.5})
    assert list(shown.metadata) == ["lag", "p99_ms", "clusters", "hashes", "waiting"]
