"""The asset `search_cells`, run by Dagster on a small store."""

from pathlib import Path

import dagster as dg
import pytest

from assets.search_cells import search_cells
from neardup_platform.terms.cells import load_cells
from neardup_platform.terms.hyperplanes import save_term_space
from neardup_platform.testing import small_term_space
from neardup_platform.testing.images import families
from neardup_platform.testing.worker import InMemoryWorker
from resources.platform import PlatformResource


def materialise(least: int) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [search_cells],
            resources={"platform": PlatformResource()},
            run_config={"ops": {"search_cells": {"config": {"least_images": least}}}},
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
