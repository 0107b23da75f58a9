import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.dagster.supervised import SupervisedRun


@pytest.fixture(scope="session")
def new_dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAGSTER_HOME with its databases: creating it takes seconds, so it is created once and copied."""
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.get_run_records(limit=1)
    return folder


@pytest.fixture
def supervised(tmp_path: Path, new_dagster_home: Path) -> Iterator[SupervisedRun]:
    home, dagster_home = tmp_path / "home", tmp_path / "dagster"
    home.mkdir()
    shutil.copytree(new_dagster_home, dagster_home)
    environment = {
        "NEARDUP_HOME": str(home),
        "DAGSTER_HOME": str(dagster_home),
        "NEARDUP_WORKER_STALLED_S": "3",
        # Never connected to: they only prevent the use of the embedded servers.
        "NEARDUP_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "NEARDUP_S3_ENDPOINT": "http://127.0.0.1:1",
    }
    run = SupervisedRun(home, dagster_home, environment)
    yield run
    run.end()
