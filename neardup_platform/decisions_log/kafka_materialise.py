"""Materialises an hour of `neardup.decisions` as Parquet on S3.

Runs after publishing, outside the per-image path. Batch work (quality, training, reprocessing) reads decisions from
here, long after the topic's retention has passed. Materialising an hour again writes the same objects.
"""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from neardup_platform.decisions_log.decision_rows import SCHEMA, decision_table
from neardup_platform.decisions_log.duckdb_decisions import (
    DecisionCounts,
    count_decisions,
    decided_alike,
    first_decisions,
)
from neardup_platform.decisions_log.s3_decisions_log import (
    StoredPart,
    hour_prefix,
    object_key,
    put_object,
    stored_parts,
)
from neardup_platform.decisions_log.wrong_matches import WrongMatches, expected_wrong_matches
from neardup_platform.errors import NeardupError, NotFound
from neardup_platform.kafka.window import LogRecord, OffsetRange, offset_ranges, open_consumer, read_range
from neardup_platform.s3_client import ensure_bucket
from neardup_platform.scoring.card import read_card
from neardup_platform.scoring.threshold_table import ThresholdTable
from neardup_platform.settings import Settings
from neardup_platform.wire.topics import DECISIONS

# Rows held in memory at once; a decision with 100 candidates takes some 6 KB as Python objects.
ROW_GROUP_ROWS = 10_000
PREVIEW_ROWS = 10


@dataclass(frozen=True, slots=True)
class MaterialisedHour:
    """What was written.

    Attributes:
        ranges: offsets by Kafka partition, ascending; every partition has an object, even if it is empty.
        bytes: total size of the objects.
        preview: the first decisions of the hour, by column.
        wrong_matches: expected of the decisions; None if their classifiers have no table of thresholds.
    """

    uri: str
    ranges: tuple[OffsetRange, ...]
    counts: DecisionCounts
    bytes: int
    preview: list[dict[str, Any]]
    wrong_matches: WrongMatches | None


def materialise_decisions(settings: Settings, s3: Any, hour: datetime) -> MaterialisedHour:
    """Write the decisions whose Kafka timestamp is in an hour; memory use does not grow with their number.

    Args:
        settings: resolved.
        s3: a boto3 client; the bucket is created if it is missing.
        hour: the start of the hour, with time zone. The current hour is written up to now.

    Raises:
        NotFound: the topic does not exist, or the log no longer has what was materialised for this hour before.
        ServerUnavailable: Kafka or S3 does not answer.
    """
    ensure_bucket(s3, settings.s3)
    bucket = settings.s3.bucket
    consumer = open_consumer(settings.kafka)
    try:
        with tempfile.TemporaryDirectory(prefix="neardup-decisions-") as folder:
            ranges = offset_ranges(consumer, DECISIONS, _ms(hour), _ms(hour + timedelta(hours=1)))
            keys = choose_keys(stored_parts(s3, bucket, hour), ranges, bucket, hour)
            files = [Path(folder, f"part-{offsets.partition}.parquet") for offsets in ranges]
            for offsets, file in zip(ranges, files, strict=True):
                write_parquet(read_range(consumer, DECISIONS, offsets), file)
            counts, preview = count_decisions(files), first_decisions(files, PREVIEW_ROWS)
            alike = decided_alike(files)
            for offsets, file in zip(ranges, files, strict=True):
                if key := keys[offsets.partition]:
                    put_object(s3, bucket, key, file, offsets)
            size = sum(file.stat().st_size for file in files)
    finally:
        consumer.close()
    tables = {version: _table_of(settings, version) for version in {group.classifier for group in alike}}
    expected = expected_wrong_matches(alike, tables)
    return MaterialisedHour(f"s3://{bucket}/{hour_prefix(hour)}", ranges, counts, size, preview, expected)


def _table_of(settings: Settings, version: str) -> ThresholdTable | None:
    """The table of a classifier; None if it has none, or cannot be had: the hour matters more than the estimate."""
    from neardup_platform.learning.classifier.keras_active_classifier import classifier_folder

    try:
        return read_card(classifier_folder(settings, version)).threshold_table
    except NeardupError:
        return None


def choose_keys(
    stored: Sequence[StoredPart], found: Sequence[OffsetRange], bucket: str, hour: datetime
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
            _refuse_loss(part, now, bucket)
        if same:
            keys[now.partition] = same[0].key
        elif parts:
            keys[now.partition] = object_key(hour, now.partition, now.log) if now.count else ""
        else:
            keys[now.partition] = object_key(hour, now.partition)
    return keys


def _refuse_loss(part: StoredPart, now: OffsetRange, bucket: str) -> None:
    stored = part.offsets
    if stored.count and (stored.first < now.first or stored.next > now.next):
        raise NotFound(
            f"s3://{bucket}/{part.key} holds offsets {stored.first}…{stored.next - 1} of {DECISIONS}[{now.partition}], "
            f"the log only {now.first}…{now.next - 1} for that hour (its oldest is {now.begins}): retention has "
            "deleted them or this is another log. The object is kept; delete it to materialise this hour again"
        )


def write_parquet(batches: Iterable[list[LogRecord]], file: Path) -> None:
    """Write records as Parquet, with one row group at a time in memory."""
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        waiting: list[LogRecord] = []
        for batch in batches:
            waiting += batch
            if len(waiting) >= ROW_GROUP_ROWS:
                writer.write_table(decision_table(waiting))
                waiting = []
        writer.write_table(decision_table(waiting))


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1_000)
