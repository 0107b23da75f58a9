"""Finds batches that the broker holds and nobody can read: bad checksums, and bytes that do not decompress.

A flipped bit on a disk must not stop the stream, and what it costs must be known. Each offset that cannot be read
becomes a message with nothing but its place, to be dead-lettered as `unreadable`.
"""

import logging
from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import CorruptRecordError, KafkaError, RetriableError, UnsupportedCodecError

from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.codecs import missing_codec
from neardup_platform.kafka.topics import reading
from neardup_platform.settings import KafkaSettings
from neardup_platform.wire.codec import Message

log = logging.getLogger(__name__)

_PROBE_MS = 2_000


def unreadable(settings: KafkaSettings, positions: Mapping[TopicPartition, int]) -> list[Message]:
    """Return the unreadable offsets of each partition, from its position to the next readable offset.

    Returns:
        One message for each, without key and value; none if everything can be read after all.

    Raises:
        ServerUnavailable: the broker does not answer.
        SetupError: a batch is compressed with a codec that is not installed here.
    """
    found: list[Message] = []
    for partition, position in positions.items():
        try:
            found += _probe(settings, partition, position)
        except KafkaError as error:
            raise ServerUnavailable(f"probing {partition.topic}[{partition.partition}] failed: {error}") from error
    return found


def _probe(settings: KafkaSettings, partition: TopicPartition, position: int) -> list[Message]:
    consumer = KafkaConsumer(
        **reading(settings),
        client_id="neardup-probe",
        max_partition_fetch_bytes=max(1 << 20, settings.max_message_bytes),
    )
    try:
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        found: list[Message] = []
        for offset in range(position, end):
            problem = _problem(consumer, partition, offset)
            if problem is None:
                break
            found.append(Message(partition.topic, partition.partition, offset, b"", b"", damage=problem))
    finally:
        consumer.close()
    if found:
        log.error("%s and %d offsets behind it cannot be read: %s", found[0].place, len(found) - 1, found[0].damage)
    return found


def _problem(consumer: Any, partition: TopicPartition, offset: int) -> str | None:
    """Return why an offset cannot be read, or None. Each call must ask for another offset than the previous one."""
    consumer.seek(partition, offset)
    try:
        consumer.poll(timeout_ms=_PROBE_MS, max_records=1)
    except RetriableError:
        raise
    except UnsupportedCodecError as error:
        raise missing_codec(f"{partition.topic}[{partition.partition}]", error) from error
    except CorruptRecordError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 -- the decompressors have no error in common
        return f"{type(error).__name__}: {error}"
    return None
