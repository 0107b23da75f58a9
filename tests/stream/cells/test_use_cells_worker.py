"""Claims about `use-cells` in a real worker with a real Kafka, killed at the moments that matter."""

import json
import threading
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.search_cells import search_cells
from neardup_platform.cli import cli
from neardup_platform.kafka.control import new_command, run_command, send_command
from neardup_platform.learning.terms.store_cells import write_fitted_cells
from neardup_platform.settings import Settings
from neardup_platform.store.secondary import SecondaryStore
from neardup_platform.stream.sample_vectors import sample_vectors
from neardup_platform.terms.cells import cells_of_index
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.terms.json_manifest import read_manifest
from neardup_platform.testing import eventually
from neardup_platform.wire import neardup_pb2 as pb
from resources.platform import PlatformResource
from tests.dagster.operation_run import variables
from tests.stream.worker_process import PATIENCE_S, images, publish, reading, running, start

pytestmark = pytest.mark.slow


def fitted(settings: Settings) -> str:
    """Cells fitted to what the store holds now."""
    space = load_term_space(None)
    unit = sample_vectors(settings, space, 1_024, lambda _: None)
    return write_fitted_cells(space, unit, settings.home / "cells", least=16)[0].version


def use(cells: str) -> pb.Command:
    return new_command("use-cells", {"cells": cells}, "a test")


def on_disk(settings: Settings) -> str:
    manifest = read_manifest(settings.index_path)
    return "" if manifest is None else cells_of_index(manifest.version)


def test_a_worker_exchanges_cells_while_it_decides_and_finds_them_after_each_kill(empty_log: Settings) -> None:
    settings, command = empty_log, use("term-space")
    with running(settings), reading(settings) as reader:
        publish(settings, range(60))
        eventually(lambda: images(reader) == 60)
        cells = fitted(settings)
        command = use(cells)
        send_command(settings.kafka, command)
        # The process that makes the index has begun: what it writes is removed by the next worker.
        eventually(lambda: making(settings.home))
    assert on_disk(settings) == ""
    killed = start(settings, more={"NEARDUP_CRASH_AT": "prepared:2"})
    assert killed.wait(PATIENCE_S) == -9
    # The index is exchanged, the command not committed.
    assert on_disk(settings) == cells
    stop = threading.Event()

    def stream() -> None:
        number = 60
        while not stop.wait(0.05):
            publish(settings, range(number, number + 5))
            number += 5

    with running(settings), reading(settings) as reader:
        first = run_command(settings.kafka, command, PATIENCE_S)
        assert (first.accepted, first.values["replaced"]) == (True, cells)
        (found,) = refreshed(reader)
        assert (found.version, found.after_sequence, found.command_id) == (cells, 60, "")
        assert not making(settings.home)
        streaming = threading.Thread(target=stream)
        streaming.start()
        before = images(reader)
        back = run_command(settings.kafka, use("term-space"), PATIENCE_S)
        with variables(settings):
            again = CliRunner().invoke(cli, ["cells", "use", cells], catch_exceptions=False)
        decided = images(reader) - before
        stop.set()
        streaming.join()
        assert back.values["replaced"] == cells
        assert f"cells {cells} are active in place of term-space, from decision" in again.output
        # Both took seconds, most of them beside the stream.
        assert decided > 0
        assert [each.version for each in refreshed(reader)] == [cells, "", cells]
        unknown = run_command(settings.kafka, use(f"cells{'0' * 12}"), PATIENCE_S)
        assert not unknown.accepted
        assert "fit them again" in unknown.reason
        with variables(settings):
            used = materialised()
            assert f"are active in place of {cells}" in used
            assert "neardup cells use" in used
            undone = CliRunner().invoke(cli, ["cells", "use", cells, "--json"], catch_exceptions=False)
        assert json.loads(undone.stdout)["cells"] == cells
        assert len(refreshed(reader)) == 5
    assert on_disk(settings) == cells


def materialised() -> str:
    """What a run of the asset says about the exchange."""
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize(
            [search_cells],
            resources={"platform": PlatformResource()},
            run_config={"ops": {"search_cells": {"config": {"least_images": 16}}}},
            instance=instance,
        )
    (event,) = run.asset_materializations_for_node("search_cells")
    return str(event.metadata["used"].value)


def making(home: Path) -> list[Path]:
    return list(home.glob("next-files-*"))


def refreshed(reader: SecondaryStore) -> list[Any]:
    reader.refresh()
    return list(reader.state().cells)
