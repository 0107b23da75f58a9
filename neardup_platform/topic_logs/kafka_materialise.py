"""Materialises an hour of a topic as Parquet on S3.

Records of an hour, by Kafka timestamp → columns of the message → **one object per Kafka partition**

Runs after publishing, outside the per-image path. Batch work (quality, training, reprocessing) reads messages from
here, long after the topic's retention has passed. Materialising an hour again writes the same objects.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from neardup_platform.errors import NotFound
from neardup_platform.kafka.record_block import RecordBlock
from neardup_platform.kafka.window import (
    EmptyOffsets,
    OffsetRange,
    held_since_ms,
    offset_ranges,
    open_consumer,
    read_blocks,
)
from neardup_platform.s3_client import ensure_bucket
from neardup_platform.settings import KafkaSettings, Settings
from neardup_platform.topic_logs.day_manifest import StoredPart
from neardup_platform.topic_logs.parquet_log import write_parquet
from neardup_platform.topic_logs.s3_topic_log import (
    hour_prefix,
    object_key,
    put_object,
    stored_parts,
    stored_ranges,
)
from neardup_platform.topic_logs.topic_log import TopicLog

_HOUR = timedelta(hours=1)
# Partitions at a time; a row group of each is in memory, some 150 MB.
_THREADS = 2


@dataclass(frozen=True, slots=True)
class MaterialisedHour:
    """What was written.

    Attributes:
        ranges: offsets by Kafka partition, ascending; every partition has an object, even if it is empty.
        undecodable: records that are no such message.
        empty: offsets without a message: of transactions, their markers and aborted messages.
        bytes: total size of the objects.
    """

    uri: str
    ranges: tuple[OffsetRange, ...]
    undecodable: int
    empty: int
    bytes: int

    @property
    def records(self) -> int:
        """Messages in the hour, including repeats."""
        return sum(offsets.count for offsets in self.ranges) - self.empty


def materialise(
    settings: Settings, s3: Any, of: TopicLog, hour: datetime, use: Callable[[list[Path]], None] = lambda _: None
) -> MaterialisedHour:
    """Write the messages whose Kafka timestamp is in an hour; memory use does not grow with their number.

    Args:
        settings: resolved.
        s3: a boto3 client; the bucket is created if it is missing.
        hour: the start of the hour, with time zone. The current hour is written up to now.
        use: called with the local files before they are uploaded.

    Raises:
        NotFound: the topic does not exist, Kafka no longer holds the hour, or no longer what was materialised before.
        ServerUnavailable: Kafka or S3 does not answer.
    """
    ensure_bucket(s3, settings.s3)
    bucket = settings.s3.bucket
    with closing(open_consumer(settings.kafka)) as consumer:
        ranges = offset_ranges(consumer, of.topic, _ms(hour), _ms(hour + _HOUR))
        keys = choose_keys(of, stored_parts(s3, bucket, of, hour), ranges, bucket, hour)
        retained_ms = round(1_000 * time.time()) - settings.kafka.retention_h * 3_600_000
        held = held_since_ms(consumer, of.topic, ranges, retained_ms)
    cut = partly_held(of, ranges, held, stored_ranges(s3, bucket, of, hour - _HOUR), hour)

    empty = {offsets.partition: EmptyOffsets(offsets) for offsets in ranges}

    def write(offsets: OffsetRange) -> int:
        return write_parquet(of, _read(settings.kafka, of, offsets, empty[offsets.partition]), file_of(offsets))

    def put(offsets: OffsetRange) -> None:
        number = offsets.partition
        if key := keys[number]:
            put_object(s3, bucket, key, file_of(offsets), offsets, cut=number in cut, empty=empty[number].count)

    with tempfile.TemporaryDirectory(prefix="neardup-log-") as folder, ThreadPoolExecutor(_THREADS) as pool:

        def file_of(offsets: OffsetRange) -> Path:
            return Path(folder, f"part-{offsets.partition}.parquet")

        undecodable = sum(pool.map(write, ranges))
        use([file_of(offsets) for offsets in ranges])
        list(pool.map(put, ranges))
        size = sum(file_of(offsets).stat().st_size for offsets in ranges)
    nothing = sum(each.count for each in empty.values())
    return MaterialisedHour(f"s3://{bucket}/{hour_prefix(of, hour)}", ranges, undecodable, nothing, size)


def _read(settings: KafkaSettings, of: TopicLog, offsets: OffsetRange, empty: EmptyOffsets) -> Iterator[RecordBlock]:
    if not offsets.count:
        return
    # A consumer of its own: none may be used by two threads.
    with closing(open_consumer(settings)) as consumer:
        yield from read_blocks(consumer, of.topic, offsets, empty)


def partly_held(
    of: TopicLog,
    ranges: Sequence[OffsetRange],
    held: Mapping[int, int],
    before: Mapping[int, OffsetRange],
    hour: datetime,
) -> set[int]:
    """The partitions of which Kafka may have deleted messages of an hour.

    Args:
        held: by partition, the time of the oldest message that Kafka still has, Unix milliseconds.
        before: the ranges of the previous hour, where it is materialised.

    Raises:
        NotFound: it has deleted all that there may have been.
    """
    found = set()
    for now in ranges:
        previous = before.get(now.partition)
        continued = previous is not None and previous.log == now.log and previous.next >= now.begins
        if now.first > now.begins or continued or held[now.partition] <= _ms(hour):
            continue
        if held[now.partition] >= _ms(hour + _HOUR):
            oldest = datetime.fromtimestamp(held[now.partition] / 1_000, UTC)
            raise NotFound(
                f"Kafka no longer holds {hour:%Y-%m-%dT%H} of {of.topic}[{now.partition}]: messages before offset "
                f"{now.begins}, of {oldest:%Y-%m-%dT%H:%M:%S}Z, were deleted. Nothing was written; materialise hours "
                f"from {oldest:%Y-%m-%dT%H} on, and raise kafka.retention_h to keep more"
            )
        found.add(now.partition)
    return found


def choose_keys(
    of: TopicLog, stored: Sequence[StoredPart], found: Sequence[OffsetRange], bucket: str, hour: datetime
) -> dict[int, str]:
    """Where to put the ranges found in the log, without overwriting an object that holds more, or another log's.

    Returns:
        Keys by Kafka partition; empty for a partition without messages whose object is of another log.

    Raises:
        NotFound: a stored range is not within the one found in the log now.
    """
    keys = {}
    for now in found:
        parts = [part for part in stored if part.offsets.partition == now.partition]
        same = [part for part in parts if part.offsets.log == now.log or not (part.offsets.log and now.log)]
        for part in same:
            _refuse_loss(of, part, now, bucket)
        if same:
            keys[now.partition] = same[0].key
        elif parts:
            keys[now.partition] = object_key(of, hour, now.partition, now.log) if now.count else ""
        else:
            keys[now.partition] = object_key(of, hour, now.partition)
    return keys


def _refuse_loss(of: TopicLog, part: StoredPart, now: OffsetRange, bucket: str) -> None:
    stored = part.offsets
    if stored.count and (stored.first < now.first or stored.next > now.next):
        place, remedy = part.key, "The object is kept; delete it to materialise this hour again"
        if part.rows is not None:
            place, remedy = part.rows.file, "They are kept in the compacted day"
        raise NotFound(
            f"s3://{bucket}/{place} holds offsets {stored.first}…{stored.next - 1} of {of.topic}[{now.partition}], "
            f"the log only {now.first}…{now.next - 1} for that hour (its oldest is {now.begins}): retention has "
            f"deleted them or this is another log. {remedy}"
        )


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1_000)
