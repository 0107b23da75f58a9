"""Claims about counting what the log no longer holds, on a real Kafka."""

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from neardup_platform.kafka.publisher import make_producer
from neardup_platform.kafka.retention import deleted_since
from neardup_platform.kafka.topics import connection
from neardup_platform.records import Kind
from neardup_platform.settings import Settings
from neardup_platform.wire.codec import Log
from neardup_platform.wire.topics import EMBEDDINGS

LSH = EMBEDDINGS[Kind.LSH]


def test_messages_deleted_after_a_position_are_counted_by_partition(empty_log: Settings) -> None:
    kafka = empty_log.kafka
    producer = make_producer(kafka)
    offsets = [producer.send(LSH, partition=1, value=b"x").get(timeout=30).offset for _ in range(5)]
    first = offsets[0]
    producer.close()
    ends = _ends(empty_log)
    admin = KafkaAdminClient(**connection(kafka))
    admin.delete_records({TopicPartition(LSH, 1): first + 3})
    admin.close()
    assert deleted_since(kafka, ends) == {}
    assert deleted_since(kafka, {**ends, (LSH, 1): first + 1}) == {f"{LSH}[1]": 2}
    assert deleted_since(kafka, {**ends, (LSH, 1): first + 3}) == {}
    # The end of the log is gone, which the worker detects when it reads.
    assert deleted_since(kafka, {**ends, (LSH, 1): first + 6}) == {}


def test_the_number_deleted_from_a_recreated_topic_is_unknown(empty_log: Settings) -> None:
    kafka, ends = empty_log.kafka, _ends(empty_log)
    consumer = KafkaConsumer(**connection(kafka))
    consumer.partitions_for_topic(LSH)
    now = consumer._cluster.topic_id(LSH).hex
    consumer.close()
    assert deleted_since(kafka, ends, {(LSH, 1): Log(now), (LSH, 2): Log("0" * 32)}) == {f"{LSH}[2]": None}


def _ends(settings: Settings) -> dict[tuple[str, int], int]:
    consumer = KafkaConsumer(**connection(settings.kafka), enable_auto_commit=False)
    partitions = [TopicPartition(topic, n) for topic in EMBEDDINGS.values() for n in range(settings.kafka.partitions)]
    ends = consumer.end_offsets(partitions)
    consumer.close()
    return {(p.topic, p.partition): end for p, end in ends.items()}
