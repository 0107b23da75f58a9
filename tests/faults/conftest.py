"""A log of its own for each test module, and a home beside it."""

from collections.abc import Iterator

import pytest

from neardup_platform.kafka.topics import ensure_topics
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings
from tests.faults.world import home_of, small_steps


@pytest.fixture(scope="module")
def own_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A broker and an S3 server that a test may stop, with empty topics; small steps."""
    with running_servers(Settings(home=tmp_path_factory.mktemp("own"))) as settings:
        ensure_topics(settings.kafka)
        yield small_steps(home_of(settings, settings.home / "worker"))
