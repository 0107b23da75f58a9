"""What tests share: one embedded Kafka and S3 for the session, an empty log for each test that asks; their order.

Properties are tested with the same examples every time and without a limit of time, which a busy machine exceeds by
chance: `make test` says whether a change is right, and `make fuzz` looks for examples that nobody has thought of.
"""

import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from neardup_platform.kafka.topics import connection, ensure_topics
from neardup_platform.servers import ports
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.settings import Settings

_SLOW_MACHINE = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "long", max_examples=20_000, deadline=timedelta(seconds=30), suppress_health_check=_SLOW_MACHINE
)
settings.register_profile(
    "default", max_examples=60, deadline=None, derandomize=True, suppress_health_check=_SLOW_MACHINE
)

# Helpers whose assertions should show what they compare.
pytest.register_assert_rewrite("tests.faults.world", "tests.stream.worker_process")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: at the end, quick files keep the other processes busy during the last slow one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def _own_ports() -> Iterator[None]:
    """Servers of this process listen elsewhere than those of another: a port is free until it is listened on."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    begin = 12_000 + 1_000 * (number % 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ports, "_CHOSEN_FROM", range(begin, begin + 1_000))
        yield


@pytest.fixture(scope="module", autouse=True)
def _no_disposed_instance() -> None:
    """Forgets the Dagster instance of an earlier file: two open at once leave the storage of the first."""
    if base := sys.modules.get("dagster._core.storage.defs_state.base"):
        base._current_storage.set(None)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Resolved settings of a real Kafka and a real S3 server, topics created."""
    with running_servers(Settings(home=tmp_path_factory.mktemp("servers"))) as settings:
        ensure_topics(settings.kafka)
        yield settings


@pytest.fixture
def empty_log(servers: Settings, tmp_path: Path) -> Settings:
    """The same servers with every topic emptied, and a home of the test's own."""
    return emptied(servers, tmp_path / "home")


def emptied(servers: Settings, home: Path) -> Settings:
    """Empty every topic; returns the settings of another home."""
    consumer = KafkaConsumer(**connection(servers.kafka))
    partitions = [
        TopicPartition(topic, number)
        for topic in consumer.topics()
        if topic.startswith("neardup.")
        for number in consumer.partitions_for_topic(topic)
    ]
    ends = {p: end for p, end in consumer.end_offsets(partitions).items() if end}
    consumer.close()
    if ends:
        admin = KafkaAdminClient(**connection(servers.kafka))
        admin.delete_records(ends)
        admin.close()
    return servers.model_copy(update={"home": home})
