"""The other pipeline's output on S3: Parquet files by hour, fetched and checked for their columns.

    {handover.prefix}hour=YYYY-MM-DDTHH/*.parquet

| column | type | |
|---|---|---|
| `image_id` | string | the id under which its embeddings are published here |
| `head` | string | the cluster: any id that all images of the cluster share, by preference that of an image in it |
| `decided_ms` | integer, optional | Unix milliseconds; of two rows about an image the later counts |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, BadCommand, NotFound
from neardup_platform.ingest.parquet_columns import check_column, check_names, few
from neardup_platform.ingest.parquet_files import data_paths
from neardup_platform.s3_client import split_uri, unreadable
from neardup_platform.settings import Settings

MOST_FILES = 1_000
# An hour at 200 images/s has 720,000 rows.
MOST_ROWS = 1_000_000
COLUMNS = ("image_id", "head", "decided_ms")
_OPTIONAL = ("decided_ms",)


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file of the other pipeline, fetched.

    Attributes:
        uri: where it came from.
        path: where it is.
    """

    uri: str
    path: Path


def place_of(settings: Settings, hour: datetime) -> tuple[str, str]:
    """Bucket and prefix of an hour.

    Raises:
        NotFound: `handover.prefix` is an `s3://` uri without a bucket.
    """
    prefix, bucket = settings.handover.prefix, settings.s3.bucket
    if prefix.startswith("s3://"):
        bucket, prefix = split_uri(prefix)
    return bucket, f"{prefix.rstrip('/')}/hour={hour:%Y-%m-%dT%H}/".lstrip("/")


def fetch_other(settings: Settings, s3: Any, hour: datetime, folder: Path) -> list[OtherFile]:
    """Download the files of an hour, in order of key; none where there are none.

    Args:
        folder: existing.

    Raises:
        BadArtefact: one is no Parquet file, or lacks a column, or its name leaves open whether it counts; the text
            names it.
        BadCommand: they are too many, or have too many rows.
        NotFound: one vanished while they were fetched.
        ServerUnavailable: S3 does not answer.
    """
    bucket, prefix = place_of(settings, hour)
    files: list[OtherFile] = []
    rows = 0
    for key in _listed(s3, bucket, prefix):
        file = OtherFile(f"s3://{bucket}/{key}", folder / f"other-{hour:%Y%m%dT%H}-{len(files)}.parquet")
        try:
            s3.download_file(bucket, key, str(file.path))
        except (BotoCoreError, ClientError) as error:
            raise unreadable(error, f"{file.uri} was listed and") from error
        rows += _checked_rows(file)
        if rows > MOST_ROWS:
            raise BadCommand(
                f"s3://{bucket}/{prefix} has more than {MOST_ROWS:,} rows: write fewer images into an hour"
            )
        files.append(file)
    return files


def _listed(s3: Any, bucket: str, prefix: str) -> Sequence[str]:
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            raise NotFound(f"there is no bucket {bucket}: check handover.prefix and s3.bucket") from error
        raise unreadable(error, f"s3://{bucket}/{prefix}") from error
    except BotoCoreError as error:
        raise unreadable(error, f"s3://{bucket}/{prefix}") from error
    paths = data_paths(key.removeprefix(prefix) for key in keys)
    if isinstance(paths, str):
        raise BadArtefact(f"s3://{bucket}/{prefix} cannot be compared: {paths}")
    if len(paths) > MOST_FILES:
        raise BadCommand(f"s3://{bucket}/{prefix} has {len(paths)} files, at most {MOST_FILES} are read: merge some")
    return sorted(f"{prefix}{path}" for path in paths)


def _checked_rows(file: OtherFile) -> int:
    """The number of rows of a file whose columns are as they should be."""
    try:
        parquet = pq.ParquetFile(file.path)
    except (pa.ArrowException, OSError) as error:
        raise BadArtefact(f"{file.uri} is no Parquet file: {error}. Write it again, then compare again") from error
    schema = parquet.schema_arrow
    try:
        check_names(schema.names, COLUMNS)
        for name in COLUMNS:
            if name in schema.names:
                check_column(schema, name)
            elif name not in _OPTIONAL:
                raise BadArtefact(f"it has no column {name!r} (it has {few(schema.names)})")
    except BadArtefact as error:
        raise BadArtefact(f"{file.uri}: {error}; docs/tasks/hand-over.md says which columns it needs") from error
    return int(parquet.metadata.num_rows)
