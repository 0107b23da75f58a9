"""The asset `search_cells`, run by Dagster on a small store, and the sensor that requests it."""

import time
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.search_cells import search_cells
from neardup_platform.cli import cli
from neardup_platform.operations.fitted_cells import status_in_words
from neardup_platform.store.cells import cells_are_due, record_cells
from neardup_platform.store.store_pb2 import StoreState
from neardup_platform.store.writer import Batch
from neardup_platform.supervise.heartbeat import Heartbeat, Phase, write_heartbeat
from neardup_platform.terms.cells import load_cells
from neardup_platform.terms.hyperplanes import save_term_space
from neardup_platform.testing import small_term_space
from neardup_platform.testing.images import families
from neardup_platform.testing.worker import InMemoryWorker
from resources.platform import PlatformResource
from sensors.cells_sensor import cells_sensor


def materialise(least: int) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [search_cells],
            resources={"platform": PlatformResource()},
            run_config={"ops": {"search_cells": {"config": {"least_images": least, "use": False}}}},
            instance=instance,
            raise_on_error=False,
        )


def test_cells_are_written_under_their_version_or_the_run_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file, space = tmp_path / "home", tmp_path / "space.npz", small_term_space()
    save_term_space(space, file)
    monkeypatch.setenv("NEARDUP_HOME", str(home))
    monkeypatch.setenv("NEARDUP_TERMS_SPACE", str(file))
    with InMemoryWorker(home) as worker:
        worker.decide(families(20, 3, noise=0.4))
        held = sum(not record.retired for record in worker.store.vectors.all())
    (event,) = materialise(40).asset_materializations_for_node("search_cells")
    shown = {name: value.value for name, value in event.metadata.items()}
    cells = load_cells(Path(shown["path"]), space.version, space.words)
    assert Path(shown["path"]) == home / "cells" / f"{cells.version}.npz"
    assert (shown["version"], shown["cells"]) == (cells.version, len(cells))
    assert shown["sample"] == held
    (failure,) = materialise(1_000).get_step_failure_events()
    assert "at least 1,000 are needed" in str(failure.event_specific_data)


@pytest.mark.parametrize(
    ("images", "exchanges", "due"),
    [
        (999, [], False),
        (1_000, [], True),
        (3_999, [("cells000000000000", "a", 1_000)], False),
        (4_000, [("cells000000000000", "a", 1_000)], True),
        # An operator has gone back to the cells of the term space.
        (3_999, [("cells000000000000", "a", 900), ("", "b", 1_000)], False),
        (4_000, [("cells000000000000", "a", 900), ("", "b", 1_000)], True),
        # A start has lost the file of its cells, or a setting that named one is gone.
        (1_001, [("cells000000000000", "a", 900), ("", "", 1_000)], True),
        (3_999, [("cells000000000000", "", 1_000)], False),
    ],
)
def test_cells_are_due_at_a_size_and_at_each_fourfold_growth(
    images: int, exchanges: list[tuple[str, str, int]], due: bool
) -> None:
    state = StoreState()
    for version, command_id, then in exchanges:
        state.images = then
        record_cells(state, version, 7, command_id)
    state.images = images
    assert cells_are_due(state, 1_000) is due
    assert not cells_are_due(state, 0)


def test_a_store_remembers_the_last_ten_exchanges() -> None:
    state = StoreState()
    for number in range(12):
        state.sequence = number
        record_cells(state, f"cells{number:012x}", number)
    assert [each.after_sequence for each in state.cells] == list(range(2, 12))


def test_the_sensor_requests_a_run_when_cells_are_due_and_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("NEARDUP_HOME", str(home))
    monkeypatch.setenv("NEARDUP_TERMS_FIT_CELLS_FROM", "20")

    def tick() -> dg.RunRequest | dg.SkipReason:
        with dg.DagsterInstance.ephemeral() as instance:
            result = cells_sensor(
                dg.build_sensor_context(instance=instance, resources={"platform": PlatformResource()})
            )
        assert isinstance(result, dg.RunRequest | dg.SkipReason)
        return result

    def skipped() -> str:
        result = tick()
        assert isinstance(result, dg.SkipReason)
        return str(result.skip_message)

    def beat(images: int) -> None:
        now_ms = time.time_ns() // 1_000_000
        write_heartbeat(home, Heartbeat(1, now_ms, now_ms, Phase.RUNNING, {"images": float(images)}))

    assert "no worker runs" in skipped()
    beat(19)
    assert "fewer than 20 images" in skipped()
    beat(40)
    assert "no worker has run yet" in skipped()
    with InMemoryWorker(home) as worker:
        worker.decide(families(10, 3, noise=0.4))
    requested = tick()
    assert isinstance(requested, dg.RunRequest)
    assert tick() == requested
    monkeypatch.setenv("NEARDUP_TERMS_CELLS", str(tmp_path / "pinned.npz"))
    assert "terms.cells is set" in skipped()
    monkeypatch.delenv("NEARDUP_TERMS_CELLS")
    with InMemoryWorker(home) as worker:
        state = worker.store.state()
        record_cells(state, "cells000000000000", 7, "a command", "somebody")
        batch = Batch()
        batch.put_state(state)
        worker.store.write(batch)
    assert "cells000000000000 serve until 160 images" in skipped()
    shown = CliRunner().invoke(cli, ["cells", "status"], catch_exceptions=False).output
    assert "cells cells000000000000, 40 images\nothers are fitted again at 160 images" in shown
    assert "after decision 40, at 40 images, by somebody" in shown
    pinned = {"pinned": "x.npz", "cells": "term-space", "images": 7, "due": False, "next_images": None, "exchanges": []}
    assert "never fitted without being asked" in status_in_words(pinned)


def test_a_run_is_not_requested_beside_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARDUP_HOME", str(tmp_path))
    monkeypatch.setenv("NEARDUP_TERMS_FIT_CELLS_FROM", "20")
    now_ms = time.time_ns() // 1_000_000
    write_heartbeat(tmp_path, Heartbeat(1, now_ms, now_ms, Phase.RUNNING, {"images": 40.0}))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.create_run_for_job(dg.job(name="fit_cells")(lambda: None), status=dg.DagsterRunStatus.STARTED)
        result = cells_sensor(dg.build_sensor_context(instance=instance, resources={"platform": PlatformResource()}))
    assert isinstance(result, dg.SkipReason)
    assert "being fitted or exchanged" in str(result.skip_message)
