import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from supervised import SupervisedRun  # noqa: E402 -- its folder is put on the path above


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[SupervisedRun]:
    home, dagster_home = tmp_path / "home", tmp_path / "dagster"
    home.mkdir()
    dagster_home.mkdir()
    (dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {
        "NEARDUP_HOME": str(home),
        "DAGSTER_HOME": str(dagster_home),
        "NEARDUP_WORKER_STALLED_S": "3",
        # Never connected to: they only keep the embedded servers from being asked for.
        "NEARDUP_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "NEARDUP_S3_ENDPOINT": "http://127.0.0.1:1",
    }
    run = SupervisedRun(home, dagster_home, environment)
    yield run
    run.end()
