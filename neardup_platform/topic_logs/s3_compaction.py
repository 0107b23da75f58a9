"""Compacts a day of a log: the objects of its hours, one for each Kafka partition, become few files in one order.

Objects of 24 hours → files → **read back and compared** → manifest, from which on they count → objects deleted later

Readers are right at every moment (s3_topic_log.stored_parts): an object of an hour counts as long as it exists, then
its rows in the day. The replaced objects stay for `logs.grace_h`, as readers may be at them. A compaction that is
interrupted leaves what counted before, and files that no manifest names, which a later one deletes.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, NotFound, ServerUnavailable
from neardup_platform.settings import LogSettings
from neardup_platform.topic_logs.day_manifest import (
    DayManifest,
    Rows,
    StoredPart,
    day_prefix,
    days_prefix,
    encode_manifest,
    generation,
    manifest_key,
    same_content,
)
from neardup_platform.topic_logs.duckdb_rows import RowsSeen, rows_seen
from neardup_platform.topic_logs.parquet_log import ROW_GROUP_BYTES, ROW_GROUP_ROWS, parquet_options
from neardup_platform.topic_logs.s3_hours import fetch_part
from neardup_platform.topic_logs.s3_topic_log import (
    TRANSFER,
    fetch_object,
    find_manifest,
    hour_objects,
    listed,
    stored_parts,
)
from neardup_platform.topic_logs.topic_log import TopicLog

# A file ends after the object with which it reaches this size.
FILE_BYTES = 128 << 20
# Days compacted earlier have been cleaned up by the compactions that followed.
_CLEANED = timedelta(days=31)
# More are refused by S3.
_DELETED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class CompactedDay:
    """What became of a day.

    Attributes:
        rows, parts: of the day; `parts` are objects of its hours.
        files: that hold it now; none where its objects are large enough to stay.
        written: whether files were written, or those of an earlier compaction are still right.
        bytes: of the files.
        deleted: objects that were deleted, of this day and of earlier ones.
    """

    uri: str
    rows: int
    parts: int
    files: int
    written: bool
    bytes: int
    deleted: int


def compact_day(
    settings: LogSettings, s3: Any, bucket: str, of: TopicLog, hours: Sequence[datetime], now: datetime
) -> CompactedDay:
    """Compact a day, and delete what compactions have replaced long enough ago.

    Args:
        s3: a boto3 client.
        hours: of one day, UTC, ascending: all that can be materialised.
        now: the clock, with time zone.

    Raises:
        NotFound: an hour is not materialised.
        ServerUnavailable: S3 does not answer, or an hour was materialised again meanwhile.
        BadArtefact: an object has columns that this version does not know, or the files do not hold what the objects
            do; they are not used.
    """
    day = hours[0]
    parts, compacted = _stored(s3, bucket, of, hours), find_manifest(s3, bucket, of, day)
    sizes = _sizes(s3, bucket, of, day)
    right = compacted is not None and same_content(parts, compacted.parts)
    small = sum(sizes.get(part.key, 0) for part in parts) < settings.compact_below_mb * 1e6 * len(parts)
    written = not right and (compacted is not None or small)
    if written:
        placed = _write(s3, bucket, of, day, parts, sizes)
        if not same_content(parts, _stored(s3, bucket, of, hours)):
            raise ServerUnavailable(
                f"an hour of {day:%Y-%m-%d} of logs/{of.name} was materialised meanwhile: try again"
            )
        compacted = DayManifest(round(1_000 * now.timestamp()), tuple(placed))
        _put(s3, bucket, manifest_key(of, day), encode_manifest(compacted))
    deleted = _clean_up(s3, bucket, of, now - timedelta(hours=settings.grace_h))
    files, sizes = compacted.files if compacted is not None else (), _sizes(s3, bucket, of, day)
    return CompactedDay(
        uri=f"s3://{bucket}/{day_prefix(of, day)}",
        rows=sum(part.rows.count for part in compacted.parts if part.rows) if compacted is not None else 0,
        parts=len(parts),
        files=len(files),
        written=written,
        bytes=sum(sizes[file] for file in files),
        deleted=deleted,
    )


def _stored(s3: Any, bucket: str, of: TopicLog, hours: Sequence[datetime]) -> list[StoredPart]:
    """What is stored of all hours."""
    by_hour = {hour: stored_parts(s3, bucket, of, hour) for hour in hours}
    missing = [f"{hour:%Y-%m-%dT%H}" for hour, parts in by_hour.items() if not parts]
    if missing:
        raise NotFound(f"logs/{of.name} is not materialised for {', '.join(missing)}: materialise these hours first")
    # Of an hour by partition, where two logs were in it the older one first.
    return [part for parts in by_hour.values() for part in sorted(parts, key=lambda part: part.offsets.partition)]


def _sizes(s3: Any, bucket: str, of: TopicLog, day: datetime) -> dict[str, int]:
    """Bytes of the objects of a day and of its files, by key."""
    prefixes = (_hours_prefix(of, f"{day:%Y-%m-%d}"), day_prefix(of, day))
    return {item["Key"]: int(item["Size"]) for prefix in prefixes for item in listed(s3, bucket, prefix)}


def _write(
    s3: Any, bucket: str, of: TopicLog, day: datetime, parts: Sequence[StoredPart], sizes: Mapping[str, int]
) -> list[StoredPart]:
    """Write, upload and prove the files of a day; returns the parts with their places."""
    name, placed = f"{day_prefix(of, day)}{generation(parts)}", list[StoredPart]()
    for number, group in enumerate(divided(parts, sizes)):
        key = f"{name}-{number}.parquet"
        with tempfile.TemporaryDirectory(prefix="neardup-day-") as folder:
            file, seen = Path(folder, "day.parquet"), list[RowsSeen]()
            with pq.ParquetWriter(file, of.schema, **parquet_options(of.schema)) as writer:
                for table in _row_groups(_tables(s3, bucket, of, group, Path(folder, "hour.parquet"), seen)):
                    writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            _put(s3, bucket, key, file)
            fetch_object(s3, bucket, key, file)
            firsts = [0, *accumulate(each.rows for each in seen)]
            spans = [(first, each.rows) for first, each in zip(firsts, seen, strict=False)]
            if rows_seen(of, file, spans) != seen:
                raise BadArtefact(
                    f"s3://{bucket}/{key} does not hold what the objects of {day:%Y-%m-%d} hold: it is not used, they "
                    "stay. Materialise this day again; if that fails, keep the objects and report it"
                )
        placed += [
            replace(part, rows=Rows(key, first, each.rows))
            for part, first, each in zip(group, firsts, seen, strict=False)
        ]
    return placed


def divided(parts: Sequence[StoredPart], sizes: Mapping[str, int]) -> Iterator[list[StoredPart]]:
    """Parts by the file that they go to, in their order.

    Args:
        sizes: bytes of objects and files, by key. Of a file that is read again the whole is counted where it begins.
    """
    group, size, counted = list[StoredPart](), 0, set[str]()
    for part in parts:
        group.append(part)
        key = part.key if part.rows is None else part.rows.file
        size += 0 if key in counted else sizes.get(key, 0)
        counted.add(key)
        if size >= FILE_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _tables(
    s3: Any, bucket: str, of: TopicLog, parts: Sequence[StoredPart], file: Path, seen: list[RowsSeen]
) -> Iterator[pa.Table]:
    """The rows of parts, a row group at a time; what was seen of each is added to `seen`."""
    for part in parts:
        fetch_part(s3, bucket, of, part, file)
        seen.extend(rows_seen(of, file))
        with pq.ParquetFile(file) as stored:
            unknown = set(stored.schema_arrow.names) - set(of.schema.names)
            if unknown:
                raise BadArtefact(
                    f"s3://{bucket}/{part.key} has columns that this version does not know, which would be lost: "
                    f"{', '.join(sorted(unknown))}. Upgrade, then compact the day"
                )
            for number in range(stored.num_row_groups):
                yield _as_now(of.schema, stored.read_row_group(number))


def _as_now(schema: pa.Schema, table: pa.Table) -> pa.Table:
    """A table with every column of a schema; those that it lacks are null, within structs too."""
    if table.schema.equals(schema):
        return table
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables joined into row groups of a good size."""
    held = list[pa.Table]()
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= ROW_GROUP_ROWS or sum(each.nbytes for each in held) >= ROW_GROUP_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _clean_up(s3: Any, bucket: str, of: TopicLog, before: datetime) -> int:
    """Delete what was replaced before a time: objects of hours that are in a day unchanged, and earlier files."""
    folders: dict[str, list[Any]] = {}
    for item in listed(s3, bucket, days_prefix(of)):
        folders.setdefault(item["Key"].rpartition("/")[0], []).append(item)
    deleted = 0
    for folder, items in folders.items():
        replaced = [item for item in items if item["Key"].endswith("/manifest.json")]
        if not replaced or not before - _CLEANED < replaced[0]["LastModified"] < before:
            continue
        text = folder.rpartition("=")[2]
        manifest = find_manifest(s3, bucket, of, datetime.fromisoformat(text))
        if manifest is None:
            continue
        files = [item["Key"] for item in items if item not in replaced and item["LastModified"] < before]
        gone = [*_unchanged(s3, bucket, of, text, manifest), *(file for file in files if file not in manifest.files)]
        _delete(s3, bucket, gone)
        deleted += len(gone)
    return deleted


def _unchanged(s3: Any, bucket: str, of: TopicLog, day: str, manifest: DayManifest) -> list[str]:
    """Objects of hours whose content a day holds: those that were materialised again since count, and stay."""
    there = {item["Key"] for item in listed(s3, bucket, _hours_prefix(of, day))}
    held = {part.key: part for part in manifest.parts}
    hours = {datetime.fromisoformat(key.partition("/hour=")[2].partition("/")[0]) for key in there & held.keys()}
    objects = [part for hour in sorted(hours) for part in hour_objects(s3, bucket, of, hour)]
    return [part.key for part in objects if part.key in held and same_content([part], [held[part.key]])]


def _hours_prefix(of: TopicLog, day: str) -> str:
    """What the folders of all hours of a day begin with."""
    return f"logs/{of.name}/hour={day}T"


def _put(s3: Any, bucket: str, key: str, content: Path | bytes) -> None:
    try:
        if isinstance(content, Path):
            s3.upload_file(str(content), bucket, key, Config=TRANSFER)
        else:
            s3.put_object(Bucket=bucket, Key=key, Body=content)
    except (BotoCoreError, ClientError, S3UploadFailedError, OSError) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error


def _delete(s3: Any, bucket: str, keys: Sequence[str]) -> None:
    try:
        for first in range(0, len(keys), _DELETED_AT_ONCE):
            names = [{"Key": key} for key in keys[first : first + _DELETED_AT_ONCE]]
            s3.delete_objects(Bucket=bucket, Delete={"Objects": names, "Quiet": True})
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"deleting objects of s3://{bucket} failed: {error}") from error
