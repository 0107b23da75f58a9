"""Claims about reading a log in blocks: whatever producers did, they hold what kafka-python reads one by one."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from neardup_platform.kafka.topics import connection
from neardup_platform.kafka.window import (
    EmptyOffsets,
    OffsetRange,
    offset_ranges,
    open_consumer,
    read_blocks,
    read_range,
)
from neardup_platform.settings import Settings
from neardup_platform.wire.topics import DECISIONS
from tests.kafka.topic_settings import set_topic

STAMP = 1_700_000_000_000


def send(settings: Settings, count: int, **how: Any) -> None:
    """Publish records of many sizes in few batches, with and without key, value and headers."""
    with closing(KafkaProducer(**connection(settings.kafka), linger_ms=200, batch_size=1 << 16, **how)) as producer:
        transaction = "transactional_id" in how
        if transaction:
            producer.init_transactions()
            producer.begin_transaction()
        for n in range(count):
            key = b"k" * n if n % 3 else None
            value = None if key and n % 5 == 0 else bytes([n]) * (n * 7 % 300)
            headers = [("name", b"value"), ("empty", b"")] if n % 4 == 0 else None
            producer.send(DECISIONS, key=key, value=value, headers=headers, partition=0, timestamp_ms=STAMP + n)
        producer.flush()
        if transaction:
            producer.abort_transaction()


def codecs(settings: Settings) -> None:
    for name in ("gzip", "lz4", "snappy", "zstd"):
        send(settings, 40, compression_type=name)


def aborted(settings: Settings) -> None:
    send(settings, 20)
    send(settings, 20, transactional_id=f"t-{time.monotonic_ns()}")
    send(settings, 20)


def stamped_by_the_broker(settings: Settings) -> None:
    before_ms = time.time_ns() // 1_000_000
    with closing(KafkaAdminClient(**connection(settings.kafka))) as admin:
        for kind in ("LogAppendTime", "CreateTime"):
            set_topic(admin, DECISIONS, "message.timestamp.type", kind)
            if kind == "LogAppendTime":
                send(settings, 90)
    with closing(open_consumer(settings.kafka)) as consumer:
        # Where a window of time begins follows the broker's clock, whatever the producer's says.
        ranges = offset_ranges(consumer, DECISIONS, before_ms, before_ms + 3_600_000)
        assert ranges[0].count == 90


HOW: dict[str, Callable[[Settings], None]] = {
    "codecs": codecs,
    "plain": lambda settings: send(settings, 90),
    "aborted": aborted,
    "stamped by the broker": stamped_by_the_broker,
}


@pytest.mark.parametrize("how", HOW)
def test_blocks_hold_the_same_records_from_any_offset_on(empty_log: Settings, how: str) -> None:
    with closing(open_consumer(empty_log.kafka)) as consumer:
        begin = end_of(consumer)
        HOW[how](empty_log)
        end = end_of(consumer)
        for first, following in ((begin, end), (begin + 7, end - 3), (end - 1, end)):
            wanted = OffsetRange(0, first, following)
            expected = [record for records in read_range(consumer, DECISIONS, wanted) for record in records]
            with closing(open_consumer(empty_log.kafka)) as another:
                empty = EmptyOffsets(wanted)
                blocks = list(read_blocks(another, DECISIONS, wanted, empty))
            found = [
                (int(block.partitions[n]), int(block.offsets[n]), int(block.timestamps_ms[n]), block.value(n))
                for block in blocks
                for n in range(len(block))
            ]
            assert found == [tuple(record) for record in expected]
            assert empty.count == wanted.count - len(found)
            assert len(blocks) < len(found) or len(found) < 2, "records are read one by one"


def end_of(consumer: Any) -> int:
    partition = TopicPartition(DECISIONS, 0)
    return int(consumer.end_offsets([partition])[partition])
