"""Logs in S3: one Parquet object per hour and Kafka partition.

    s3://{bucket}/logs/{name of the log}/hour=YYYY-MM-DDTHH/part-{partition}.parquet

The user metadata of an object names its offsets (`first-offset`, and `next-offset`, exclusive), so that even an hour
without messages says where the next one must start, Kafka's id of the topic (`log`), and whether Kafka may have deleted
messages of the hour before it was materialised (`cut`). If the topic was deleted and
created again within an hour, the messages of the second are stored beside those of the first, as
part-{partition}-{first 8 of the id}.parquet. An object is uploaded completely or not at all.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import ServerUnavailable
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.topic_logs.topic_log import TopicLog


def hour_prefix(of: TopicLog, hour: datetime) -> str:
    """The folder of an hour, which DuckDB and others read as the partition column `hour`."""
    return f"logs/{of.name}/hour={hour:%Y-%m-%dT%H}/"


def object_key(of: TopicLog, hour: datetime, partition: int, log: str = "") -> str:
    """The key for one Kafka partition in an hour; with `log`, for messages that followed those of another topic."""
    return f"{hour_prefix(of, hour)}part-{partition}{f'-{log[:8]}' if log else ''}.parquet"


@dataclass(frozen=True, slots=True)
class StoredPart:
    """An existing object.

    Attributes:
        offsets: of its messages.
        cut: whether Kafka may have deleted messages of the hour before it was materialised.
    """

    key: str
    offsets: OffsetRange
    cut: bool = False


def put_object(s3: Any, bucket: str, key: str, file: Path, offsets: OffsetRange, *, cut: bool = False) -> None:
    """Upload a file, replacing any object at `key`; `offsets` and `cut` as of `StoredPart`.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    metadata = {"first-offset": str(offsets.first), "next-offset": str(offsets.next), "log": offsets.log}
    if cut:
        metadata["cut"] = "true"
    try:
        s3.upload_file(str(file), bucket, key, ExtraArgs={"Metadata": metadata})
    except (BotoCoreError, ClientError, OSError) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error


def stored_parts(s3: Any, bucket: str, of: TopicLog, hour: datetime) -> list[StoredPart]:
    """The objects of an hour, oldest first.

    Raises:
        ServerUnavailable: S3 does not answer or refuses. A missing bucket counts as empty.
    """
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=hour_prefix(of, hour))
        items = [item for page in pages for item in page.get("Contents", ()) if item["Key"].endswith(".parquet")]
        ordered = sorted(items, key=lambda item: (item["LastModified"], len(item["Key"])))
        return [_stored_part(s3, bucket, item["Key"]) for item in ordered]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            return []
        raise _unavailable(bucket, of, hour, error) from error
    except BotoCoreError as error:
        raise _unavailable(bucket, of, hour, error) from error


def stored_ranges(s3: Any, bucket: str, of: TopicLog, hour: datetime) -> dict[int, OffsetRange]:
    """The offsets of an hour's objects, by Kafka partition, of the log that was written last.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    return {part.offsets.partition: part.offsets for part in stored_parts(s3, bucket, of, hour)}


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
    return StoredPart(key, offsets, "cut" in metadata)


def _unavailable(bucket: str, of: TopicLog, hour: datetime, error: Exception) -> ServerUnavailable:
    return ServerUnavailable(f"reading s3://{bucket}/{hour_prefix(of, hour)} failed: {error}")
