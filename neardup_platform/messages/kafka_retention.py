"""What the log no longer holds: asked before reading goes back to where a snapshot was."""

from collections.abc import Mapping

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from neardup_platform.errors import ServerUnavailable, SetupError
from neardup_platform.messages.kafka_topics import EMBEDDINGS, reading
from neardup_platform.settings import KafkaSettings


def deleted_since(settings: KafkaSettings, positions: Mapping[tuple[str, int], int]) -> dict[str, int]:
    """How many embeddings at and after these positions retention has deleted, by `topic[partition]`; none left out.

    Args:
        positions: next offset by (topic, partition); a partition not in it would be read from its beginning.

    Raises:
        ServerUnavailable: no broker answers.
        SetupError: a position lies beyond the end of its partition, so this is another log.
    """
    try:
        consumer = KafkaConsumer(**reading(settings))
        try:
            partitions = [
                TopicPartition(topic, number)
                for topic in EMBEDDINGS.values()
                for number in sorted(consumer.partitions_for_topic(topic) or ())
            ]
            begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        finally:
            consumer.close()
    except KafkaError as error:
        raise ServerUnavailable(f"asking Kafka at {settings.bootstrap} for its offsets failed: {error}") from error
    deleted = {}
    for partition in partitions:
        position = positions.get((partition.topic, partition.partition), 0)
        place = f"{partition.topic}[{partition.partition}]"
        if position > ends[partition]:
            raise SetupError(f"{place} ends at {ends[partition]}, the snapshot had read up to {position}: another log")
        if begins[partition] > position:
            deleted[place] = begins[partition] - position
    return deleted
