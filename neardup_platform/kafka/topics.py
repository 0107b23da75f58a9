"""Creates the topics, and gives every Kafka client of the platform its connection settings."""

from collections.abc import Mapping
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, KafkaTimeoutError, TopicAlreadyExistsError
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from neardup_platform.errors import ServerUnavailable, SetupError
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.topics import EMBEDDINGS, PARTITIONED, SINGLE_PARTITION


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return the keyword arguments of every kafka-python client.

    Raises:
        SetupError: no bootstrap address is set.
    """
    if settings.bootstrap is None:
        raise SetupError("no Kafka address: run `neardup up`, or set NEARDUP_KAFKA_BOOTSTRAP=host:port")
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap.split(","),
        "security_protocol": settings.security_protocol,
    }
    if settings.sasl_mechanism:
        arguments["sasl_mechanism"] = settings.sasl_mechanism
        arguments["sasl_plain_username"] = settings.sasl_username
        password = settings.sasl_password
        arguments["sasl_plain_password"] = password.get_secret_value() if password else None
    if settings.ssl_cafile:
        arguments["ssl_cafile"] = str(settings.ssl_cafile)
    return arguments


def reading(settings: KafkaSettings) -> dict[str, Any]:
    """Return the keyword arguments of every consumer: committed records only, and positions of its own.

    Records of a transaction are read once it is committed, and never if it is aborted. An offset that the log does not
    hold is an error, and never moves the consumer elsewhere.

    Raises:
        SetupError: no bootstrap address is set.
    """
    return {
        **connection(settings),
        "isolation_level": "read_committed",
        "auto_offset_reset": "none",
        "enable_auto_commit": False,
        # Otherwise asking for a deleted topic recreates it with the broker's default settings.
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }


def ensure_topics(settings: KafkaSettings, timeout_s: float = 30.0) -> None:
    """Create missing topics. Existing topics are left unchanged.

    Raises:
        ServerUnavailable: no broker answered within `timeout_s`.
    """
    attempts = Retrying(
        retry=retry_if_exception_type(KafkaTimeoutError), stop=stop_after_delay(timeout_s), wait=wait_fixed(0.25)
    )
    try:
        admin = attempts(
            KafkaAdminClient, **connection(settings), client_id="neardup-admin", bootstrap_timeout_ms=2_000
        )
    except RetryError as error:
        raise ServerUnavailable(
            f"no Kafka broker at {settings.bootstrap} after {timeout_s:.0f} s: is it running?"
        ) from error.last_attempt.exception()
    try:
        _create_missing(admin, settings)
    except KafkaError as error:
        raise ServerUnavailable(f"creating topics at {settings.bootstrap} failed: {error}") from error
    finally:
        admin.close()


def _create_missing(admin: KafkaAdminClient, settings: KafkaSettings) -> None:
    existing = set(admin.list_topics())
    configs = {
        "retention.ms": str(settings.retention_h * 3_600_000),
        "max.message.bytes": str(settings.max_message_bytes),
    }
    for name in (*PARTITIONED, *SINGLE_PARTITION):
        if name in existing:
            continue
        partitions = settings.partitions if name in PARTITIONED else 1
        topic = NewTopic(name, partitions, settings.replication, topic_configs=configs)
        try:
            admin.create_topics([topic])
        except TopicAlreadyExistsError:
            continue


def check_even(settings: KafkaSettings) -> None:
    """Check that the two embedding topics have equal numbers of partitions. Images are joined either way.

    Raises:
        SetupError: the numbers differ.
        KafkaError: the broker does not answer.
    """
    admin = KafkaAdminClient(**connection(settings), client_id="neardup-admin", bootstrap_timeout_ms=2_000)
    try:
        described = admin.describe_topics(list(EMBEDDINGS.values()))
    finally:
        admin.close()
    if text := uneven({topic["name"]: len(topic["partitions"]) for topic in described}):
        raise SetupError(text)


def uneven(partitions: Mapping[str, int]) -> str:
    """Return what to do about embedding topics with different numbers of partitions; empty if they are equal."""
    few, many = sorted(EMBEDDINGS.values(), key=lambda topic: partitions[topic])
    if partitions[few] == partitions[many]:
        return ""
    return (
        f"{many} has {partitions[many]} partitions and {few} has {partitions[few]}: images are joined all the same, "
        "but more embeddings wait longer for their partner; "
        f"`kafka-topics.sh --alter --topic {few} --partitions {partitions[many]}` makes them equal"
    )
