"""The files of some hours of a log, fetched from S3."""

from datetime import datetime
from pathlib import Path
from typing import Any

from neardup_platform.topic_logs.s3_topic_log import fetch_object, stored_parts
from neardup_platform.topic_logs.topic_log import TopicLog


def fetch_hour(s3: Any, bucket: str, of: TopicLog, hour: datetime, folder: Path) -> list[Path] | None:
    """Download an hour; None where it is not materialised.

    Args:
        folder: existing.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    parts = stored_parts(s3, bucket, of, hour)
    files: list[Path] = []
    for number, part in enumerate(parts):
        files.append(folder / f"{of.name}-{hour:%Y%m%dT%H}-{number}.parquet")
        fetch_object(s3, bucket, part.key, files[-1])
    return files if parts else None
