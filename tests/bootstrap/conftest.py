import time
from collections.abc import Iterator

import pytest

from neardup_platform.s3_client import ensure_bucket, open_s3
from neardup_platform.settings import Settings
from tests.conftest import emptied
from tests.stream.worker_process import running


@pytest.fixture(scope="module")
def platform(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A fresh worker, and a bucket of its own."""
    settings = emptied(servers, tmp_path_factory.mktemp("bootstrapped") / "home")
    own = settings.s3.model_copy(update={"bucket": f"bootstrapped-{time.time_ns()}"})
    ensure_bucket(open_s3(own), own)
    settings = settings.model_copy(update={"s3": own})
    with running(settings):
        yield settings
