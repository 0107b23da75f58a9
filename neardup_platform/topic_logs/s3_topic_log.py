"""Logs in S3: one Parquet object per hour and Kafka partition.

    s3://{bucket}/logs/{name of the log}/hour=YYYY-MM-DDTHH/part-{partition}.parquet

The user metadata of an object names its offsets (`first-offset`, and `next-offset`, exclusive), so that even an hour
without messages says where the next one must start, Kafka's id of the topic (`log`), and whether Kafka may have deleted
messages of the hour before it was materialised (`cut`), and how many offsets hold no message (`empty-offsets`: of
transactions, their markers and aborted messages). If the topic was deleted and
created again within an hour, the messages of the second are stored beside those of the first, as
part-{partition}-{first 8 of the id}.parquet. An object is uploaded completely or not at all.

A day of small objects is compacted into few files (day_manifest.py), after which its objects are deleted.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import NotFound, ServerUnavailable
from neardup_platform.kafka.window import OffsetRange
from neardup_platform.s3_client import read_bounded, unreadable
from neardup_platform.topic_logs.day_manifest import DayManifest, StoredPart, decode_manifest, manifest_key
from neardup_platform.topic_logs.topic_log import TopicLog

# A part takes some 300 bytes; a day has 24 for each Kafka partition.
_MOST_MANIFEST_BYTES = 64 << 20
# With boto3's ten requests at once, the embedded server takes half as much processor time again for the same bytes.
TRANSFER = TransferConfig(max_concurrency=2)


def hour_prefix(of: TopicLog, hour: datetime) -> str:
    """The folder of an hour, which DuckDB and others read as the partition column `hour`."""
    return f"logs/{of.name}/hour={hour:%Y-%m-%dT%H}/"


def object_key(of: TopicLog, hour: datetime, partition: int, log: str = "") -> str:
    """The key for one Kafka partition in an hour; with `log`, for messages that followed those of another topic."""
    return f"{hour_prefix(of, hour)}part-{partition}{f'-{log[:8]}' if log else ''}.parquet"


def put_object(
    s3: Any, bucket: str, key: str, file: Path, offsets: OffsetRange, *, cut: bool = False, empty: int = 0
) -> None:
    """Upload a file, replacing any object at `key`; `offsets`, `cut` and `empty` as of `StoredPart`.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    metadata = {"first-offset": str(offsets.first), "next-offset": str(offsets.next), "log": offsets.log}
    if cut:
        metadata["cut"] = "true"
    if empty:
        metadata["empty-offsets"] = str(empty)
    try:
        s3.upload_file(str(file), bucket, key, ExtraArgs={"Metadata": metadata}, Config=TRANSFER)
    except (BotoCoreError, ClientError, S3UploadFailedError, OSError) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error


def stored_parts(s3: Any, bucket: str, of: TopicLog, hour: datetime) -> list[StoredPart]:
    """What is stored of an hour, oldest first: its objects, and rows of the compacted day whose object is gone.

    Raises:
        ServerUnavailable: S3 does not answer or refuses. A missing bucket counts as empty.
    """
    # In this order: what is compacted meanwhile is in one of them at least.
    objects = hour_objects(s3, bucket, of, hour)
    compacted = find_manifest(s3, bucket, of, hour)
    if compacted is None:
        return objects
    there = {part.key for part in objects}
    return [part for part in compacted.of_hour(hour_prefix(of, hour)) if part.key not in there] + objects


def stored_ranges(s3: Any, bucket: str, of: TopicLog, hour: datetime) -> dict[int, OffsetRange]:
    """The offsets stored of an hour, by Kafka partition, of the log that was written last.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    return {part.offsets.partition: part.offsets for part in stored_parts(s3, bucket, of, hour)}


def hour_objects(s3: Any, bucket: str, of: TopicLog, hour: datetime) -> list[StoredPart]:
    """The objects of an hour, oldest first.

    Raises:
        ServerUnavailable: S3 does not answer or refuses. A missing bucket counts as empty.
    """
    items = [item for item in listed(s3, bucket, hour_prefix(of, hour)) if item["Key"].endswith(".parquet")]
    ordered = sorted(items, key=lambda item: (item["LastModified"], len(item["Key"])))
    return [part for part in (_stored_part(s3, bucket, item["Key"]) for item in ordered) if part is not None]


def find_manifest(s3: Any, bucket: str, of: TopicLog, day: datetime) -> DayManifest | None:
    """The manifest of a day; None if it is not compacted.

    Args:
        day: any moment of it, UTC.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
        BadArtefact: it is no manifest, or one of a later version.
    """
    key = manifest_key(of, day)
    try:
        content = read_bounded(s3, bucket, key, _MOST_MANIFEST_BYTES)
    except NotFound:
        return None
    return decode_manifest(content, f"s3://{bucket}/{key}")


def listed(s3: Any, bucket: str, prefix: str) -> list[Any]:
    """The objects below a prefix, as S3 describes them.

    Raises:
        ServerUnavailable: S3 does not answer or refuses. A missing bucket counts as empty.
    """
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item for page in pages for item in page.get("Contents", ())]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            return []
        raise unreadable(error, f"s3://{bucket}/{prefix}") from error
    except BotoCoreError as error:
        raise unreadable(error, f"s3://{bucket}/{prefix}") from error


def fetch_object(s3: Any, bucket: str, key: str, file: Path) -> None:
    """Download an object.

    Raises:
        NotFound: it does not exist.
        ServerUnavailable: S3 does not answer or refuses.
    """
    try:
        s3.download_file(bucket, key, str(file))
    except (BotoCoreError, ClientError) as error:
        raise unreadable(error, f"s3://{bucket}/{key}") from error


def _stored_part(s3: Any, bucket: str, key: str) -> StoredPart | None:
    """What an object says about itself; None if it was deleted since it was listed."""
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError) as error:
        failure = unreadable(error, f"s3://{bucket}/{key}")
        if isinstance(failure, NotFound):
            return None
        raise failure from error
    metadata = head["Metadata"]
    partition = int(key.rpartition("/part-")[2].removesuffix(".parquet").partition("-")[0])
    offsets = OffsetRange(
        partition, int(metadata["first-offset"]), int(metadata["next-offset"]), log=metadata.get("log", "")
    )
    empty = int(metadata.get("empty-offsets", 0))
    return StoredPart(key, offsets, "cut" in metadata, head["ETag"].strip('"'), empty=empty)
