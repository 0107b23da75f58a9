"""The Kafka client that reads for a store: its settings, and everything that touches its internals.

A thin layer under member.py and assignment.py, which have the behaviour.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import UnknownTopicOrPartitionError
from kafka.structs import OffsetAndMetadata

from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.topics import reading
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.topics import CONTROL, EMBEDDINGS

TOPICS = (*EMBEDDINGS.values(), CONTROL)
GROUP_PREFIX = "neardup-"
# The only member: a process that joins under this name replaces the previous one.
INSTANCE = "worker"
ASK_MS = 5_000
_FETCH_BYTES = 8 << 20
# New partitions and recreated topics are found within this time.
METADATA_MAX_AGE_MS = 10_000


def open_client(settings: KafkaSettings, group: str) -> Any:
    """Return a static member of a consumer group. It commits nothing by itself.

    Raises:
        KafkaError: no broker answers.
    """
    return KafkaConsumer(
        # Messages that retention deleted unread are counted and logged, never skipped silently.
        **reading(settings),
        client_id="neardup-worker",
        group_id=group,
        group_instance_id=INSTANCE,
        bootstrap_timeout_ms=ASK_MS,
        # Give up on a broker that hangs after this time, not after the default of five minutes.
        request_timeout_ms=30_000,
        fetch_min_bytes=1,
        fetch_max_wait_ms=100,
        fetch_max_bytes=_FETCH_BYTES,
        max_partition_fetch_bytes=max(1 << 20, settings.max_message_bytes),
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        reconnect_backoff_max_ms=2_000,
    )


def find_partitions(consumer: Any) -> list[TopicPartition]:
    """Return every partition of every topic that the worker reads.

    Raises:
        ServerUnavailable: a topic is missing.
    """
    found = [
        TopicPartition(topic, number)
        for topic in TOPICS
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]
    if len({p.topic for p in found}) < len(TOPICS):
        raise ServerUnavailable(f"topics {sorted(TOPICS)} do not all exist: run `neardup up`")
    return found


def existing_partitions(consumer: Any, topic: str) -> list[TopicPartition]:
    """Return every partition of a topic by the latest metadata; none if there is no such topic."""
    numbers = consumer._cluster.partitions_for_topic(topic)  # noqa: SLF001
    return [TopicPartition(topic, number) for number in sorted(numbers or ())]


def log_id(consumer: Any, topic: str) -> str:
    """Return Kafka's id of a topic. A recreated topic has another id. Empty with brokers older than 2.8."""
    found = consumer._cluster.topic_id(topic)  # noqa: SLF001
    return found.hex if found else ""


def refresh_metadata(consumer: Any) -> None:
    """Refresh the client's metadata about topics and partitions, and wait for it.

    Raises:
        KafkaError: the broker does not answer.
    """
    asked = consumer._cluster.request_update()  # noqa: SLF001
    consumer._net.run(consumer._manager.wait_for, asked, ASK_MS)  # noqa: SLF001


def position_of(consumer: Any, partition: TopicPartition) -> OffsetAndMetadata | None:
    """Return where the client continues in an assigned partition, with the epoch of the previous message."""
    state = consumer._subscription.assignment.get(partition)  # noqa: SLF001
    return state.position if state is not None else None


def seek(consumer: Any, partition: TopicPartition, offset: int, epoch: int) -> None:
    """Continue at an offset. With the epoch of the previous message the client detects that the broker has lost it."""
    consumer._subscription.seek(partition, OffsetAndMetadata(offset, "", epoch))  # noqa: SLF001


def rejoin(consumer: Any) -> None:
    """Have the group's partitions assigned again.

    The member that assigned them does so by itself when their number changes. A static member that replaced an earlier
    process never assigned them: the broker gave it the earlier assignment, and kafka-python does not watch that.
    """
    consumer._coordinator.request_rejoin()  # noqa: SLF001


def oldest_offsets(consumer: Any, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Return where partitions begin.

    Raises:
        KafkaError: the broker does not answer, or no longer knows one of them.
    """
    with _no_partition_deleted():
        return dict(consumer.beginning_offsets(partitions, timeout_ms=ASK_MS))


def committed_ends(consumer: Any, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Return how far partitions can be read: up to the oldest open transaction.

    Raises:
        KafkaError: the broker does not answer, or no longer knows one of them.
    """
    with _no_partition_deleted():
        return dict(consumer.end_offsets(partitions, timeout_ms=ASK_MS))


def high_watermarks(consumer: Any, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the ends of partitions, including open transactions. `end_offsets` stops before those.

    Raises:
        KafkaError: the broker does not answer, or no longer knows one of them.
    """
    fetcher = Fetcher(
        consumer._client,  # noqa: SLF001
        consumer._subscription,  # noqa: SLF001
        isolation_level="read_uncommitted",
    )
    with _no_partition_deleted():
        return dict(fetcher.end_offsets(partitions, timeout_ms=ASK_MS))


@contextmanager
def _no_partition_deleted() -> Iterator[None]:
    """kafka-python 3.0 raises a KeyError where a partition is deleted while it is asked for the offsets of several."""
    try:
        yield
    except KeyError as gone:
        raise UnknownTopicOrPartitionError(f"{gone} no longer exists") from gone


def finish_joining(consumer: Any) -> None:
    """Make kafka-python 3.0 finish a join that it has begun.

    When partitions seem to have changed, the client marks all of them as pending revocation, stops fetching them, and
    rejoins. If the next metadata removes the reason before the broker has answered, it forgets that it was joining and
    never fetches anything again.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    if coordinator.rejoining and not coordinator.rejoin_needed:
        coordinator.request_rejoin()


def give_back_parked(consumer: Any) -> None:
    """Make kafka-python 3.0 return what it fetched from a partition before that was paused.

    It does so only while its current batch is None. If another partition was read meanwhile, an empty batch stays
    there, and the resumed partition would never be read again.
    """
    fetcher = consumer._fetcher  # noqa: SLF001
    if not fetcher._next_partition_records:  # noqa: SLF001
        fetcher._next_partition_records = None  # noqa: SLF001
