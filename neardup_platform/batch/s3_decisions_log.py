"""Where the decisions log lies in S3: one Parquet object per hour and Kafka partition.

    s3://{bucket}/logs/decisions/hour=YYYY-MM-DDTHH/part-{partition}.parquet

An object's user metadata says which offsets it stands for (`first-offset`, and `next-offset`, exclusive),
so that an hour without decisions still tells where the next one must begin. An object is put whole or not at
all.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.batch.kafka_window import OffsetRange
from neardup_platform.errors import ServerUnavailable

_PREFIX = "logs/decisions"


def hour_prefix(hour: datetime) -> str:
    """The folder of an hour, which DuckDB and others read as the partition column `hour`."""
    return f"{_PREFIX}/hour={hour:%Y-%m-%dT%H}/"


def object_key(hour: datetime, partition: int) -> str:
    """The key of one Kafka partition's decisions of an hour."""
    return f"{hour_prefix(hour)}part-{partition}.parquet"


def put_object(s3: Any, bucket: str, key: str, file: Path, offsets: OffsetRange) -> None:
    """Upload a file over whatever lies at `key`.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    metadata = {"first-offset": str(offsets.first), "next-offset": str(offsets.next)}
    try:
        s3.upload_file(str(file), bucket, key, ExtraArgs={"Metadata": metadata})
    except (BotoCoreError, ClientError, OSError) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error


def stored_ranges(s3: Any, bucket: str, hour: datetime) -> dict[int, OffsetRange]:
    """The offsets that the objects of an hour stand for, by Kafka partition; empty where there are none.

    Raises:
        ServerUnavailable: S3 does not answer or refuses; a missing bucket holds no objects.
    """
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=hour_prefix(hour))
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        ranges = [_stored_range(s3, bucket, key) for key in keys if key.endswith(".parquet")]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            return {}
        raise _unavailable(bucket, hour, error) from error
    except BotoCoreError as error:
        raise _unavailable(bucket, hour, error) from error
    return {offsets.partition: offsets for offsets in ranges}


def fetch_object(s3: Any, bucket: str, key: str, file: Path) -> None:
    """Download an object.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    try:
        s3.download_file(bucket, key, str(file))
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"reading s3://{bucket}/{key} failed: {error}") from error


def _stored_range(s3: Any, bucket: str, key: str) -> OffsetRange:
    metadata = s3.head_object(Bucket=bucket, Key=key)["Metadata"]
    partition = int(key.rpartition("/part-")[2].removesuffix(".parquet"))
    return OffsetRange(partition, int(metadata["first-offset"]), int(metadata["next-offset"]))


def _unavailable(bucket: str, hour: datetime, error: Exception) -> ServerUnavailable:
    return ServerUnavailable(f"reading s3://{bucket}/{hour_prefix(hour)} failed: {error}")
