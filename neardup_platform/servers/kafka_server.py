"""The embedded Apache Kafka: one KRaft node, broker and controller in one process, loopback only.

Acknowledged messages survive kill -9 of the broker, because they are in the system's page cache. Against a power cut
Kafka relies on replication, which a single node does not have.
"""

import base64
import subprocess
import uuid
from pathlib import Path

from neardup_platform.errors import SetupError
from neardup_platform.files import replace_file
from neardup_platform.servers import kafka_jars
from neardup_platform.servers.ports import LOOPBACK, answers
from neardup_platform.settings import Settings
from neardup_platform.supervise.service import Service

PORTS = ("kafka", "kafka-controller")
_LOG4J = Path(__file__).parent / "kafka_files" / "log4j2.properties"
# Measured in docs/embedded-servers.md: one node needs no more memory, and the first JIT tier and the serial collector
# take half the processor time of the defaults on two cores.
_JVM = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")


def bootstrap(ports: dict[str, int]) -> str:
    """The address for clients."""
    return f"{LOOPBACK}:{ports['kafka']}"


def kafka_service(settings: Settings, ports: dict[str, int]) -> Service:
    """Apache Kafka under `NEARDUP_HOME/kafka`, listening on `ports["kafka"]`.

    Raises:
        SetupError: Java 17 or newer is missing.
    """
    java = kafka_jars.find_java()
    folder = settings.home / "kafka"
    return Service(
        name="kafka",
        argv=(*_java(java, folder), "kafka.Kafka", str(folder / "server.properties")),
        probe=lambda: _not_ready(ports["kafka"]),
        ports=tuple(ports[name] for name in PORTS),
        url=bootstrap(ports),
        prepare=lambda: _prepare(settings, java, folder, ports),
        stop_timeout_s=30.0,
    )


def server_properties(settings: Settings, folder: Path, ports: dict[str, int]) -> str:
    """The broker's configuration, one `name=value` per line."""
    broker, controller = (f"{LOOPBACK}:{ports[name]}" for name in PORTS)
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        # A broker that was killed may register again only once its session has expired: 9 s by default.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        # A static quorum, because a dynamic one stores the address in its log and ports can change.
        "controller.quorum.voters": f"1@{controller}",
        "log.dirs": folder / "data",
        "auto.create.topics.enable": "false",
        "message.max.bytes": settings.kafka.max_message_bytes,
        "num.partitions": settings.kafka.partitions,
        # Kafka's own topics, sized for one node: the default of 50 partitions only costs files and time.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # The default of 128 MB is a third of the heap; compacted topics here are small.
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        "log.segment.bytes": 64 * 1024 * 1024,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def cluster_id() -> str:
    """A new random id in Kafka's format: 16 bytes in URL-safe base64 without padding, not starting with `-`."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _java(java: str, folder: Path) -> tuple[str, ...]:
    # Native libraries are unpacked in the home, because /tmp may be mounted noexec.
    options = (
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dlog4j2.configurationFile={_LOG4J}",
        "-XX:-UsePerfData",
    )
    return (java, *_JVM, *options, "-cp", f"{kafka_jars.jar_folder()}/*")


def _prepare(settings: Settings, java: str, folder: Path, ports: dict[str, int]) -> None:
    kafka_jars.ensure_jars()
    (folder / "tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
    properties = folder / "server.properties"
    replace_file(properties, server_properties(settings, folder, ports), durable=False)
    if (folder / "data" / "meta.properties").exists():
        return
    arguments = ("kafka.tools.StorageTool", "format", "-t", cluster_id(), "-c", str(properties))
    answer = subprocess.run([*_java(java, folder), *arguments], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        lines = (answer.stderr or answer.stdout).strip().splitlines() or ["no output"]
        raise SetupError(f"formatting Kafka's data folder {folder / 'data'} failed: {lines[0][:300]}")


def _not_ready(port: int) -> str | None:
    """None once a broker is registered and unfenced, so that it leads its partitions; otherwise the reason."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    if not answers(port):
        return f"nothing answers on port {port}"
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=f"{LOOPBACK}:{port}", bootstrap_timeout_ms=2_000, request_timeout_ms=2_000
        )
    except KafkaError as error:
        return f"no metadata: {error}"
    try:
        return None if admin.describe_cluster().get("brokers") else "no broker is registered yet"
    except KafkaError as error:
        return f"no metadata: {error}"
    finally:
        admin.close()
