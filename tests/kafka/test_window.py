"""Claims about windows of time in a log whose producers' clocks differ."""

import time
from contextlib import closing

import pytest
from kafka import KafkaProducer
from kafka.errors import InvalidTimestampError

from neardup_platform.kafka.topics import connection
from neardup_platform.kafka.window import offset_ranges, open_consumer
from neardup_platform.settings import Settings
from neardup_platform.wire.topics import DECISIONS

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def test_a_message_stamped_ahead_or_behind_is_in_one_window_and_none_is_left_out(empty_log: Settings) -> None:
    hour_ms = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS - 3 * HOUR_MS
    stamps = [hour_ms + minute * MINUTE_MS for minute in (1, 75, 2, -100, 3, 61, 130, 62)]
    with closing(open_consumer(empty_log.kafka)) as consumer:
        end = offset_ranges(consumer, DECISIONS, hour_ms, hour_ms + HOUR_MS)[0].next
        with closing(KafkaProducer(**connection(empty_log.kafka))) as producer:
            for stamp in stamps:
                producer.send(DECISIONS, value=b"x", partition=0, timestamp_ms=stamp).get(30)
        windows = [
            offset_ranges(consumer, DECISIONS, hour_ms + hour * HOUR_MS, hour_ms + (hour + 1) * HOUR_MS)[0]
            for hour in range(3)
        ]
    assert [window.first for window in windows] == [end, end + 1, end + 6]
    assert [window.next for window in windows] == [end + 1, end + 6, end + 8]


def test_the_embedded_broker_refuses_a_message_stamped_more_than_an_hour_ahead(empty_log: Settings) -> None:
    ahead_ms = time.time_ns() // 1_000_000 + HOUR_MS + 5 * MINUTE_MS
    with closing(KafkaProducer(**connection(empty_log.kafka))) as producer, pytest.raises(InvalidTimestampError):
        producer.send(DECISIONS, value=b"x", partition=0, timestamp_ms=ahead_ms).get(30)
