"""The Kafka client that reads for a store: its settings, and what must be known of it to use it.

A thin layer under kafka_member.py, which has the behaviour.
"""

from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.structs import OffsetAndMetadata

from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.topics import reading
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.topics import CONTROL, EMBEDDINGS

TOPICS = (*EMBEDDINGS.values(), CONTROL)
GROUP_PREFIX = "neardup-"
# The only member there is: whoever joins under this name takes the place of whoever had it.
INSTANCE = "worker"
ASK_MS = 5_000
_FETCH_BYTES = 8 << 20
# New partitions of a topic, and a topic in place of another, are found this soon.
METADATA_MAX_AGE_MS = 10_000


def open_client(settings: KafkaSettings, group: str) -> Any:
    """A static member of a consumer group that commits nothing by itself.

    Raises:
        KafkaError: no broker answers.
    """
    return KafkaConsumer(
        # What retention deleted unread is counted and said, never skipped in silence.
        **reading(settings),
        client_id="neardup-worker",
        group_id=group,
        group_instance_id=INSTANCE,
        bootstrap_timeout_ms=ASK_MS,
        # A broker that hangs rather than refuses is given up on after this long, not after five minutes.
        request_timeout_ms=30_000,
        fetch_min_bytes=1,
        fetch_max_wait_ms=100,
        fetch_max_bytes=_FETCH_BYTES,
        max_partition_fetch_bytes=max(1 << 20, settings.max_message_bytes),
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        reconnect_backoff_max_ms=2_000,
    )


def find_partitions(consumer: Any) -> list[TopicPartition]:
    """Every partition of every topic that the worker reads.

    Raises:
        ServerUnavailable: a topic is missing.
    """
    found = [
        TopicPartition(topic, number)
        for topic in TOPICS
        for number in sorted(consumer.partitions_for_topic(topic) or ())
    ]
    if len({p.topic for p in found}) < len(TOPICS):
        raise ServerUnavailable(f"topics {sorted(TOPICS)} are not all there: run `neardup up`")
    return found


def existing_partitions(consumer: Any, topic: str) -> list[TopicPartition]:
    """Every partition of a topic, as of the newest metadata; empty where there is no such topic."""
    numbers = consumer._cluster.partitions_for_topic(topic)  # noqa: SLF001
    return [TopicPartition(topic, number) for number in sorted(numbers or ())]


def log_id(consumer: Any, topic: str) -> str:
    """Kafka's id of a topic, which another topic of the same name does not have; empty from brokers older than 2.8."""
    found = consumer._cluster.topic_id(topic)  # noqa: SLF001
    return found.hex if found else ""


def refresh_metadata(consumer: Any) -> None:
    """Ask which topics and partitions there are, and wait for the answer.

    Raises:
        KafkaError: the broker does not answer.
    """
    asked = consumer._cluster.request_update()  # noqa: SLF001
    consumer._net.run(consumer._manager.wait_for, asked, ASK_MS)  # noqa: SLF001


def position_of(consumer: Any, partition: TopicPartition) -> OffsetAndMetadata | None:
    """Where the client reads on in a partition that it was given, with the epoch of what it read before."""
    state = consumer._subscription.assignment.get(partition)  # noqa: SLF001
    return state.position if state is not None else None


def seek(consumer: Any, partition: TopicPartition, offset: int, epoch: int) -> None:
    """Go on at an offset. With the epoch of what lies before it, the client finds out if the broker has lost that."""
    consumer._subscription.seek(partition, OffsetAndMetadata(offset, "", epoch))  # noqa: SLF001


def rejoin(consumer: Any) -> None:
    """Have the group's partitions assigned again.

    The member that assigned them does so by itself when their number changes. A static member that took the place of
    the process before never did: the broker gave it the earlier assignment, and kafka-python does not watch it.
    """
    consumer._coordinator.request_rejoin()  # noqa: SLF001


def high_watermarks(consumer: Any, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Where the partitions end, transactions that are still open included; `end_offsets` stops before those.

    Raises:
        KafkaError: the broker does not answer.
    """
    fetcher = Fetcher(
        consumer._client,  # noqa: SLF001
        consumer._subscription,  # noqa: SLF001
        isolation_level="read_uncommitted",
    )
    return dict(fetcher.end_offsets(partitions, timeout_ms=ASK_MS))


def finish_joining(consumer: Any) -> None:
    """Make kafka-python 3.0 finish a join that it has begun.

    When partitions seem to have changed it marks all as about to be revoked, fetches nothing of them, and joins anew.
    If the reason is gone with the next metadata, before the broker has answered, it forgets that it was joining, and
    nothing is ever fetched again.
    """
    coordinator = consumer._coordinator  # noqa: SLF001
    if coordinator.rejoining and not coordinator.rejoin_needed:
        coordinator.request_rejoin()


def give_back_parked(consumer: Any) -> None:
    """Make kafka-python 3.0 hand out what it fetched of a partition before it was paused.

    It does so only while its place for the batch being read is None; once another partition was read meanwhile, an
    empty batch is left there, and the partition that was resumed would never be read again.
    """
    fetcher = consumer._fetcher  # noqa: SLF001
    if not fetcher._next_partition_records:  # noqa: SLF001
        fetcher._next_partition_records = None  # noqa: SLF001
