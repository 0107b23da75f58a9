"""The messages of an hour as local files, whether its objects are read or the compacted day."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from neardup_platform.errors import NotFound, ServerUnavailable
from neardup_platform.topic_logs.day_manifest import StoredPart
from neardup_platform.topic_logs.s3_ranges import fetch_columns
from neardup_platform.topic_logs.s3_topic_log import fetch_object, hour_prefix, stored_parts
from neardup_platform.topic_logs.topic_log import TopicLog

# An object is deleted once a day after its day is compacted; it is then found there.
_ATTEMPTS = 3


def fetch_hour(
    s3: Any, bucket: str, of: TopicLog, hour: datetime, folder: Path, columns: Sequence[str] = ()
) -> list[Path] | None:
    """Download an hour; None where it is not materialised.

    Args:
        folder: existing.
        columns: those to read; empty for all. The others are not downloaded.

    Raises:
        ServerUnavailable: S3 does not answer, or the hour was changed whenever it was read.
    """
    why = ""
    for _ in range(_ATTEMPTS):
        parts = stored_parts(s3, bucket, of, hour)
        files = [folder / f"{of.name}-{hour:%Y%m%dT%H}-{number}.parquet" for number in range(len(parts))]
        try:
            for part, file in zip(parts, files, strict=True):
                fetch_part(s3, bucket, of, part, file, columns)
        except NotFound as gone:
            why = str(gone)
            continue
        return files or None
    raise ServerUnavailable(
        f"s3://{bucket}/{hour_prefix(of, hour)} could not be read, {_ATTEMPTS} times: {why}; try again"
    )


def fetch_part(s3: Any, bucket: str, of: TopicLog, part: StoredPart, file: Path, columns: Sequence[str] = ()) -> None:
    """Download a part of an hour; arguments as of `fetch_hour`.

    Raises:
        NotFound: what it is read from does not exist, any more.
        ServerUnavailable: S3 does not answer or refuses.
    """
    if part.rows is None and not columns:
        fetch_object(s3, bucket, part.key, file)
    else:
        key = part.key if part.rows is None else part.rows.file
        fetch_columns(s3, bucket, key, list(columns or of.schema.names), file, part.rows)
