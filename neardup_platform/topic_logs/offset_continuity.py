"""Checks whether a log is complete: within an hour, and from the previous hour.

Each finding says what is broken now and what the operator does about it.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from neardup_platform.errors import NotFound
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.topic_logs.parquet_offsets import offset_gaps, offset_span, read_offsets
from neardup_platform.topic_logs.s3_hours import fetch_part
from neardup_platform.topic_logs.s3_topic_log import hour_prefix, stored_parts, stored_ranges
from neardup_platform.topic_logs.topic_log import TopicLog

# Findings listed per partition; the rest are counted.
_SHOWN_GAPS = 5


@dataclass(frozen=True, slots=True)
class Breaks:
    """What is wrong with an hour, one line each.

    Attributes:
        within: its objects do not contain the offsets in their metadata; messages may be lost.
        seams: it does not start where the previous hour ended, which materialising it again repairs; or Kafka may have
            deleted messages of it before it was materialised.
    """

    within: tuple[str, ...] = ()
    seams: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines."""
        return (*self.within, *self.seams)


def find_breaks(s3: Any, bucket: str, of: TopicLog, hour: datetime) -> Breaks:
    """What is wrong with the objects of an hour; empty if nothing is.

    Args:
        s3: a boto3 client.
        hour: the start of the hour, with time zone.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    try:
        return _find_breaks(s3, bucket, of, hour)
    except NotFound:
        # Its objects were deleted meanwhile, and it is in the compacted day.
        return _find_breaks(s3, bucket, of, hour)


def _find_breaks(s3: Any, bucket: str, of: TopicLog, hour: datetime) -> Breaks:
    parts, ranges = stored_parts(s3, bucket, of, hour), stored_ranges(s3, bucket, of, hour)
    if not parts:
        return Breaks(within=(f"s3://{bucket}/{hour_prefix(of, hour)} has no objects: materialise this hour",))
    previous = hour - timedelta(hours=1)
    before = stored_ranges(s3, bucket, of, previous)
    seams = seam_breaks(before, ranges, f"{previous:%Y-%m-%dT%H}", f"{hour:%Y-%m-%dT%H}")
    seams += [
        f"partition {part.offsets.partition}: messages before offset {part.offsets.first} had been deleted when this "
        "hour was materialised, and some may be of this hour: nothing can bring them back; raise kafka.retention_h"
        for part in parts
        if part.cut
    ]
    within: list[str] = []
    with tempfile.TemporaryDirectory(prefix="neardup-check-") as folder:
        for part in sorted(parts, key=lambda part: part.offsets.partition):
            file, offsets = Path(folder, "part.parquet"), part.offsets
            fetch_part(s3, bucket, of, part, file, ["kafka_offset"])
            found = read_offsets(file)
            span, gaps = offset_span(found), offset_gaps(found)
            within += content_breaks(offsets, span, gaps, part.empty, f"{hour:%Y-%m-%dT%H}")
            file.unlink()
    return Breaks(tuple(within), tuple(seams))


def seam_breaks(
    before: Mapping[int, OffsetRange], now: Mapping[int, OffsetRange], earlier: str, later: str
) -> list[str]:
    """Where an hour does not start at the offset at which the previous hour ended; another log may start anywhere.

    Args:
        before, now: ranges by Kafka partition; a previous hour that was never materialised is empty.
        earlier, later: names of the two hours.
    """
    found = []
    for partition in sorted(before.keys() & now.keys()):
        end, begin = before[partition].next, now[partition].first
        if before[partition].log != now[partition].log and before[partition].log and now[partition].log:
            continue
        if begin > end:
            found.append(
                f"partition {partition}: offsets {end}…{begin - 1} are in neither hour. They arrived after "
                f"{earlier} was materialised: materialise {earlier} again"
            )
        elif begin < end:
            found.append(
                f"partition {partition}: offsets {begin}…{end - 1} are in both hours, so the "
                f"timestamps of the log have changed or it is another log: materialise {earlier}, then {later} again"
            )
    if before:
        found += [
            f"partition {partition} has no object: materialise {later} again"
            for partition in sorted(before.keys() - now.keys())
        ]
    return found


def content_breaks(
    offsets: OffsetRange, span: tuple[int, int] | None, gaps: list[tuple[int, int]], empty: int, hour: str
) -> list[str]:
    """Where an object does not contain exactly the offsets in its metadata.

    Args:
        span: first and last offset in the object; None if it is empty.
        gaps: (first missing, next present); a duplicate offset appears as (offset + 1, offset).
        empty: how many of the offsets hold no message.
    """
    inside, missing = _compared(offsets, span, gaps)
    if inside and missing == empty:
        return []
    where, remedy = f"partition {offsets.partition}", f"materialise {hour} again"
    expected = (offsets.first, offsets.next - 1) if offsets.count else None
    found = []
    if empty:
        found.append(
            f"{where}: {missing} offsets are missing, and only {empty} of them belong to transactions: {remedy}"
        )
    if span != expected:
        found.append(f"{where}: the object should contain {_text(expected)} and contains {_text(span)}: {remedy}")
    for first, following in gaps[:_SHOWN_GAPS]:
        what = f"{first}…{following - 1} are missing" if following > first else f"{following} is duplicated"
        found.append(f"{where}: offset {what}: {remedy}; if they stay missing, the broker has lost them")
    if len(gaps) > _SHOWN_GAPS:
        found.append(f"{where}: and {len(gaps) - _SHOWN_GAPS} more gaps")
    return found


def _compared(offsets: OffsetRange, span: tuple[int, int] | None, gaps: list[tuple[int, int]]) -> tuple[bool, int]:
    """Whether an object contains only offsets of the range, each once; and how many it lacks."""
    if span is None:
        return True, offsets.count
    inside = offsets.first <= span[0] and span[1] < offsets.next
    between = [following - first for first, following in gaps]
    lacking = offsets.count - (span[1] - span[0] + 1) + sum(between)
    return inside and all(size > 0 for size in between), lacking


def _text(span: tuple[int, int] | None) -> str:
    return "no offsets" if span is None else f"offsets {span[0]}…{span[1]}"
