"""The decisions log in S3: one Parquet object per hour and Kafka partition.

    s3://{bucket}/logs/decisions/hour=YYYY-MM-DDTHH/part-{partition}.parquet

The user metadata of an object names its offsets (`first-offset`, and `next-offset`, exclusive), so that even an hour
without decisions says where the next one must start, and the id of its log (`log`). If the topic was deleted and
created again within an hour, the decisions of the second log are stored beside those of the first, as
part-{partition}-{first 8 of the log's id}.parquet. An object is uploaded completely or not at all.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.window import OffsetRange

_PREFIX = "logs/decisions"


def hour_prefix(hour: datetime) -> str:
    """The folder of an hour, which DuckDB and others read as the partition column `hour`."""
    return f"{_PREFIX}/hour={hour:%Y-%m-%dT%H}/"


def object_key(hour: datetime, partition: int, log: str = "") -> str:
    """The key for one Kafka partition in an hour; with `log`, for decisions that followed those of another log."""
    return f"{hour_prefix(hour)}part-{partition}{f'-{log[:8]}' if log else ''}.parquet"


@dataclass(frozen=True, slots=True)
class StoredPart:
    """An existing object and its offsets."""

    key: str
    offsets: OffsetRange


def put_object(s3: Any, bucket: str, key: str, file: Path, offsets: OffsetRange) -> None:
    """Upload a file, replacing any object at `key`.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    metadata = {"first-offset": str(offsets.first), "next-offset": str(offsets.next), "log": offsets.log}
    try:
        s3.upload_file(str(file), bucket, key, ExtraArgs={"Metadata": metadata})
    except (BotoCoreError, ClientError, OSError) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error


def stored_parts(s3: Any, bucket: str, hour: datetime) -> list[StoredPart]:
    """The objects of an hour, oldest first.

    Raises:
        ServerUnavailable: S3 does not answer or refuses. A missing bucket counts as empty.
    """
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=hour_prefix(hour))
        items = [item for page in pages for item in page.get("Contents", ()) if item["Key"].endswith(".parquet")]
        ordered = sorted(items, key=lambda item: (item["LastModified"], len(item["Key"])))
        return [_stored_part(s3, bucket, item["Key"]) for item in ordered]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            return []
        raise _unavailable(bucket, hour, error) from error
    except BotoCoreError as error:
        raise _unavailable(bucket, hour, error) from error


def stored_ranges(s3: Any, bucket: str, hour: datetime) -> dict[int, OffsetRange]:
    """The offsets of an hour's objects, by Kafka partition, of the log that was written last.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    return {part.offsets.partition: part.offsets for part in stored_parts(s3, bucket, hour)}


def fetch_object(s3: Any, bucket: str, key: str, file: Path) -> None:
    """Download an object.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    try:
        s3.download_file(bucket, key, str(file))
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"reading s3://{bucket}/{key} failed: {error}") from error


def _stored_part(s3: Any, bucket: str, key: str) -> StoredPart:
    metadata = s3.head_object(Bucket=bucket, Key=key)["Metadata"]
    partition = int(key.rpartition("/part-")[2].removesuffix(".parquet").partition("-")[0])
    offsets = OffsetRange(
        partition, int(metadata["first-offset"]), int(metadata["next-offset"]), log=metadata.get("log", "")
    )
    return StoredPart(key, offsets)


def _unavailable(bucket: str, hour: datetime, error: Exception) -> ServerUnavailable:
    return ServerUnavailable(f"reading s3://{bucket}/{hour_prefix(hour)} failed: {error}")
