"""The embedded Kafka and S3: what they acknowledge survives, whatever ports they get."""

import os
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from neardup_platform.errors import HomeInUse, ServerUnavailable
from neardup_platform.files import read_json, write_json
from neardup_platform.kafka.topics import connection, ensure_topics
from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.servers.endpoints import environment, resolve, state_file
from neardup_platform.servers.ports import answers, remembered
from neardup_platform.servers.s3_server import credentials
from neardup_platform.settings import KafkaSettings, S3Settings, Settings
from neardup_platform.supervise.home import mark_of, prepare_home
from neardup_platform.supervise.process import marked
from neardup_platform.testing import eventually
from neardup_platform.wire.topics import CONTROL

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a home in which nothing runs."""
    return Settings(home=tmp_path / "home")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a home in which both servers run."""
    with running_servers(Settings(home=tmp_path_factory.mktemp("running"))) as resolved:
        ensure_topics(resolved.kafka)
        yield resolved


def s3_client(resolved: Settings, secret: str | None = None) -> Any:
    assert resolved.s3.access_key is not None
    assert resolved.s3.secret_key is not None
    return boto3.client(
        "s3",
        endpoint_url=resolved.s3.endpoint,
        aws_access_key_id=resolved.s3.access_key.get_secret_value(),
        aws_secret_access_key=secret or resolved.s3.secret_key.get_secret_value(),
        region_name=resolved.s3.region,
        config=Config(retries={"max_attempts": 20, "mode": "standard"}),
    )


def produce(resolved: Settings, values: list[bytes]) -> None:
    """Publish values; returns once every one is acknowledged."""
    producer = KafkaProducer(**connection(resolved.kafka), acks="all")
    for acknowledgement in [producer.send(CONTROL, value) for value in values]:
        acknowledgement.get(timeout=120)
    producer.close()


def consumed(resolved: Settings) -> list[bytes]:
    consumer = KafkaConsumer(**connection(resolved.kafka))
    partition = TopicPartition(CONTROL, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    values: list[bytes] = []

    def is_read() -> bool:
        values.extend(record.value for records in consumer.poll(500).values() for record in records)
        return bool(consumer.position(partition) >= end)

    eventually(is_read, lambda: f"{len(values)} of {end} messages are read")
    consumer.close()
    return values


def killed_and_back(running: Settings, name: str) -> None:
    """Kill a server with signal 9, then wait until the supervisor has a new one ready."""

    def service() -> dict[str, Any]:
        return next(entry for entry in read_json(state_file(running.home))["services"] if entry["name"] == name)

    before = service()
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: service()["restarts"] > before["restarts"] and service()["ready"], f"{name} did not come back")


def test_acknowledged_records_survive_kill_9_of_kafka(running: Settings) -> None:
    before = consumed(running)
    values = [b"record %d" % number for number in range(2_000)]
    produce(running, values)
    killed_and_back(running, "kafka")
    assert consumed(running) == before + values
    produce(running, [b"after"])
    assert consumed(running)[-1] == b"after"


def test_acknowledged_objects_survive_kill_9_of_the_s3_server(running: Settings) -> None:
    client = s3_client(running)
    for number in range(200):
        client.put_object(Bucket=running.s3.bucket, Key=f"killed/{number:03}", Body=b"%d" % number * 1_000)
    killed_and_back(running, "s3")
    for number in range(200):
        body = client.get_object(Bucket=running.s3.bucket, Key=f"killed/{number:03}")["Body"].read()
        assert body == b"%d" % number * 1_000


def test_data_and_addresses_survive_a_restart_even_when_ports_are_taken(settings: Settings) -> None:
    with running_servers(settings) as first:
        ensure_topics(first.kafka)
        produce(first, [b"kept"])
        s3_client(first).put_object(Bucket=first.s3.bucket, Key="kept", Body=b"kept")
    with running_servers(settings) as second:
        assert second == first
    ports = remembered(settings.home)
    # Another process takes all of them.
    with_strangers = [socket.create_server(("127.0.0.1", port)) for port in ports.values()]
    try:
        with running_servers(settings) as third:
            assert not set(remembered(settings.home).values()) & set(ports.values())
            assert consumed(third)[-1] == b"kept"
            client = s3_client(third)
            assert client.get_object(Bucket=third.s3.bucket, Key="kept")["Body"].read() == b"kept"
            client.put_object(Bucket=third.s3.bucket, Key="new", Body=b"new")
            assert client.get_object(Bucket=third.s3.bucket, Key="new")["Body"].read() == b"new"
    finally:
        for stranger in with_strangers:
            stranger.close()


def test_the_s3_server_refuses_a_wrong_key(running: Settings) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3_client(running, secret="wrong").list_objects_v2(Bucket=running.s3.bucket)


def test_credentials_are_private_and_differ_between_homes(settings: Settings, running: Settings) -> None:
    assert stat.S_IMODE((running.home / "s3" / "credentials.json").stat().st_mode) == 0o600
    access, secret = credentials(settings.home)
    assert credentials(settings.home) == (access, secret)
    assert running.s3.secret_key is not None
    assert running.s3.secret_key.get_secret_value() != secret


def test_every_server_listens_on_loopback_only(running: Settings) -> None:
    listening = [
        connected.laddr.ip
        for process in marked(mark_of(running.home))
        for connected in process.net_connections("tcp")
        if connected.status == "LISTEN"
    ]
    assert len(listening) >= 7
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_a_second_instance_on_the_home_is_refused_and_the_first_continues(running: Settings) -> None:
    with pytest.raises(HomeInUse, match="neardup down"), running_servers(Settings(home=running.home)):
        pass
    produce(running, [b"still here"])


def test_two_homes_run_concurrently(running: Settings, tmp_path: Path) -> None:
    with running_servers(Settings(home=tmp_path / "other"), s3=False) as other:
        ensure_topics(other.kafka)
        produce(other, [b"other"])
        assert other.kafka.bootstrap != running.kafka.bootstrap
        assert consumed(other) == [b"other"]
        assert b"other" not in consumed(running)


def test_nothing_is_left_after_a_stop(settings: Settings) -> None:
    with running_servers(settings) as resolved:
        assert len(marked(mark_of(settings.home))) == 2
    assert marked(mark_of(settings.home)) == []
    assert not any(answers(port) for port in remembered(settings.home).values())
    sockets = [str(port) for port in remembered(settings.home).values()]
    assert not [
        path for path in Path(tempfile.gettempdir()).glob("seaweedfs-*.sock") if any(s in path.name for s in sockets)
    ]
    with pytest.raises(ServerUnavailable, match="neardup up"):
        resolve(settings)
    assert resolve(resolved) == resolved


def test_a_stale_state_file_does_not_count_as_a_running_platform(settings: Settings) -> None:
    prepare_home(settings.home)
    write_json(state_file(settings.home), {"pid": os.getpid(), "created": 1.0, "servers_ready": True})
    with pytest.raises(ServerUnavailable, match="Kafka and S3 server"):
        resolve(settings)


def test_a_child_reads_the_same_settings_from_its_environment(
    running: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment(running).items():
        monkeypatch.setenv(name, value)
    assert Settings() == running


def test_external_servers_keep_their_settings(tmp_path: Path) -> None:
    external = Settings(home=tmp_path, kafka=KafkaSettings(bootstrap="broker:9092"), s3=S3Settings(endpoint="aws"))
    assert resolve(external) == external
    with running_servers(external) as resolved:
        assert resolved == external
        assert marked(mark_of(tmp_path)) == []
