"""Counts what the log no longer holds, before reading goes back to the positions of a snapshot."""

from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.group_client import log_id
from neardup_platform.kafka.topics import reading
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.codec import UNKNOWN_LOG, Log
from neardup_platform.wire.topics import EMBEDDINGS


def deleted_since(
    settings: KafkaSettings,
    positions: Mapping[tuple[str, int], int],
    logs: Mapping[tuple[str, int], Log] | None = None,
) -> dict[str, int | None]:
    """Return how many embeddings at and after these positions are gone, by `topic[partition]`.

    Args:
        positions: next offset by (topic, partition); other partitions would be read from their beginning.
        logs: the log that each position belongs to.

    Returns:
        Partitions with losses only. None if the topic was recreated, so that the number is unknown.

    Raises:
        ServerUnavailable: no broker answers.
    """
    try:
        consumer = KafkaConsumer(**reading(settings))
        try:
            partitions = [p for topic in EMBEDDINGS.values() for p in _partitions(consumer, topic)]
            begins = consumer.beginning_offsets(partitions)
            ids = {topic: log_id(consumer, topic) for topic in EMBEDDINGS.values()}
        finally:
            consumer.close()
    except KafkaError as error:
        raise ServerUnavailable(f"asking Kafka at {settings.bootstrap} for its offsets failed: {error}") from error
    deleted: dict[str, int | None] = {}
    for partition in partitions:
        place = f"{partition.topic}[{partition.partition}]"
        position = positions.get((partition.topic, partition.partition), 0)
        before = (logs or {}).get((partition.topic, partition.partition), UNKNOWN_LOG).id
        if before and ids[partition.topic] not in ("", before):
            deleted[place] = None
        elif begins[partition] > position:
            deleted[place] = begins[partition] - position
    return deleted


def _partitions(consumer: Any, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
