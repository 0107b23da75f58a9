import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from neardup_platform.client import Client
from neardup_platform.errors import SetupError
from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.serving.app import build_app
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import Settings
from neardup_platform.testing import eventually
from tests.conftest import emptied
from tests.current_hour import hour_that_lasts
from tests.dagster.operation_run import variables
from tests.dagster.supervised import SupervisedRun
from tests.serving.conftest import listening
from tests.stream.worker_process import publish, running

IMAGES = 24


def no_models() -> Models:
    raise SetupError("no search here")


@pytest.fixture(scope="module")
def platform(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A worker that has decided some images, a bucket of its own, and an API that reads its store.

    In a bucket that modules share, what one has materialised of an hour is of a log that the next has emptied.
    """
    settings = emptied(servers, tmp_path_factory.mktemp("operated") / "home")
    own = settings.s3.model_copy(update={"bucket": f"operated-{time.time_ns()}"})
    ensure_bucket(open_s3(own), own)
    settings = settings.model_copy(update={"s3": own})
    with running(settings):
        # All are decided in one hour, which a test has decided again.
        hour_that_lasts(20)
        publish(settings, range(IMAGES))
        eventually(settings.store_path.exists)
        with listening(build_app(settings, no_models)) as http:
            settings = settings.model_copy(update={"api": settings.api.model_copy(update={"port": http.base_url.port})})
            with Client.from_settings(settings) as api:
                eventually(lambda: api.status().images == IMAGES)
            with variables(settings):
                yield settings


@pytest.fixture
def api(platform: Settings) -> Iterator[Client]:
    with Client.from_settings(platform) as client:
        yield client


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
        "NEARDUP_WORKER_REPORT_S": "0.5",
        # Never connected to: they only prevent the use of the embedded servers.
        "NEARDUP_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "NEARDUP_S3_ENDPOINT": "http://127.0.0.1:1",
    }
    run = SupervisedRun(home, dagster_home, environment)
    yield run
    run.end()
