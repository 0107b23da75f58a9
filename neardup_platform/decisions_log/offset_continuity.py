"""Whether the decisions log is complete: within an hour, and from the hour before.

Each finding says what is broken now and what the operator does about it.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from neardup_platform.decisions_log.duckdb_decisions import offset_gaps, offset_span
from neardup_platform.decisions_log.s3_decisions_log import fetch_object, hour_prefix, stored_parts, stored_ranges
from neardup_platform.kafka.window import OffsetRange

# Findings named per partition; the rest are counted.
_SHOWN_GAPS = 5


@dataclass(frozen=True, slots=True)
class Breaks:
    """What is wrong with an hour, one line each.

    Attributes:
        within: its objects do not hold what they stand for; messages may be lost.
        seams: it does not begin where the hour before ended; materialising again mends that.
    """

    within: tuple[str, ...] = ()
    seams: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.within, *self.seams)


def find_breaks(s3: Any, bucket: str, hour: datetime) -> Breaks:
    """What is wrong with the objects of an hour; empty where all is well.

    Args:
        s3: a boto3 client.
        hour: the beginning of the hour, with time zone.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    parts, ranges = stored_parts(s3, bucket, hour), stored_ranges(s3, bucket, hour)
    if not parts:
        return Breaks(within=(f"s3://{bucket}/{hour_prefix(hour)} holds no objects: materialise this hour",))
    before = hour - timedelta(hours=1)
    seams = seam_breaks(stored_ranges(s3, bucket, before), ranges, f"{before:%Y-%m-%dT%H}", f"{hour:%Y-%m-%dT%H}")
    within: list[str] = []
    with tempfile.TemporaryDirectory(prefix="neardup-check-") as folder:
        for part in sorted(parts, key=lambda part: part.offsets.partition):
            file, offsets = Path(folder, "part.parquet"), part.offsets
            fetch_object(s3, bucket, part.key, file)
            within += content_breaks(offsets, offset_span(file), offset_gaps(file), f"{hour:%Y-%m-%dT%H}")
            file.unlink()
    return Breaks(tuple(within), tuple(seams))


def seam_breaks(
    before: Mapping[int, OffsetRange], now: Mapping[int, OffsetRange], earlier: str, later: str
) -> list[str]:
    """Where an hour does not begin at the offset at which the hour before ended; another log may begin anywhere.

    Args:
        before, now: ranges by Kafka partition; an hour before that was never materialised is empty.
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
                f"partition {partition}: offsets {begin}…{end - 1} are in both hours, so the log's "
                f"timestamps have changed or it is another log: materialise {earlier}, then {later} again"
            )
    if before:
        found += [
            f"partition {partition} has no object: materialise {later} again"
            for partition in sorted(before.keys() - now.keys())
        ]
    return found


def content_breaks(
    offsets: OffsetRange, span: tuple[int, int] | None, gaps: list[tuple[int, int]], hour: str
) -> list[str]:
    """Where an object does not hold exactly the offsets it stands for.

    Args:
        span: first and last offset found in it; None where it is empty.
        gaps: (first missing, next present); an offset present twice shows as (offset + 1, offset).
    """
    where, remedy = f"partition {offsets.partition}", f"materialise {hour} again"
    expected = (offsets.first, offsets.next - 1) if offsets.count else None
    found = []
    if span != expected:
        found.append(f"{where}: the object stands for {_text(expected)} and holds {_text(span)}: {remedy}")
    for first, following in gaps[:_SHOWN_GAPS]:
        what = f"{first}…{following - 1} are missing" if following > first else f"{following} is there twice"
        found.append(f"{where}: offset {what}: {remedy}; if they stay missing, the broker has lost them")
    if len(gaps) > _SHOWN_GAPS:
        found.append(f"{where}: and {len(gaps) - _SHOWN_GAPS} more gaps")
    return found


def _text(span: tuple[int, int] | None) -> str:
    return "no offsets" if span is None else f"offsets {span[0]}…{span[1]}"
