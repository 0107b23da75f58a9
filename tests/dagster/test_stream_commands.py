"""The asset `stream/commands`: what was sent by command line is seen in Dagster, once, also after a restart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.stream_commands import NewCommands, stream_commands_asset
from neardup_platform.operations.rocksdb_handled_commands import commands_since
from neardup_platform.settings import Settings
from tests.dagster.operation_run import Run
from tests.dagster.test_operations import image, said

pytestmark = pytest.mark.slow


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as kept:
        yield kept


def record(instance: dg.DagsterInstance, commands: NewCommands, count: float) -> list[dict[str, Any]]:
    """What the supervising run records after a report with so many accepted commands."""
    found = []
    for event in commands.after({"commands_accepted": count}):
        instance.report_runless_asset_event(event)
        found.append({name: value.value for name, value in event.metadata.items()})
    return found


def test_each_command_is_recorded_once_with_its_issuer_and_result(
    platform: Settings, instance: dg.DagsterInstance
) -> None:
    commands = NewCommands(instance, platform)
    record(instance, commands, 1)
    said("override", "move", image(2), "--alone")
    refused = Run("forget", instance, image_id="unknown.jpg", dry_run=False)
    assert not refused.success
    first, second = record(instance, commands, 3)
    assert (first["command"], first["accepted"], first["result"]) == ("override", True, "accepted")
    assert first["issued_by"]
    assert "run" not in first
    assert (second["command"], second["accepted"], second["run"]) == ("forget", False, refused.run_id)
    assert "unknown" in second["result"]
    assert record(instance, commands, 3) == []
    # The run was replaced by another one.
    replaced = NewCommands(instance, platform)
    assert record(instance, replaced, 3) == []
    taken = said("snapshot")["snapshot"]
    said("rollback", taken)
    found = record(instance, replaced, 5)
    assert [each["command"] for each in found] == ["snapshot", "restore"]
    assert [each["number"] for each in found] == [second["number"] + 1, second["number"] + 2]
    events = instance.fetch_observations(stream_commands_asset.key, limit=2).records
    assert [r.asset_observation.metadata["command"].value for r in events if r.asset_observation] == [
        "restore",
        "snapshot",
    ]


def test_a_number_of_another_store_counts_as_none_within_a_bound(platform: Settings, tmp_path: Path) -> None:
    known = commands_since(platform, 0)
    assert [each.number for each in known] == list(range(1, len(known) + 1))
    assert commands_since(platform, 10**9) == known
    assert commands_since(platform, 0, most=1) == known[-1:]
    assert commands_since(platform, known[-1].number) == []
    assert commands_since(platform.model_copy(update={"home": tmp_path}), 0) == []
    assert list(platform.home.glob("commands-*")) == []
