"""Segments on S3: Parquet files of images, uploaded by a client and fetched by the worker for `ingest-segment`."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, ServerUnavailable, SetupError
from neardup_platform.s3_client import unreadable

PREFIX = "segments"
MAX_BYTES = 16 << 30


def put_segment(s3: Any, bucket: str, file: Path) -> str:
    """Upload a file; returns its key, which depends on its content alone.

    Raises:
        ServerUnavailable: S3 does not answer, or refuses.
    """
    with file.open("rb") as opened:
        key = f"{PREFIX}/{hashlib.file_digest(opened, 'sha256').hexdigest()}.parquet"
    try:
        s3.upload_file(str(file), bucket, key)
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error
    return key


def fetch_segment(
    s3: Any, bucket: str, key: str, path: Path, check_cancelled: Callable[[], None] = lambda: None
) -> bytes:
    """Download a segment; returns its SHA-256.

    Args:
        check_cancelled: called for each megabyte; raises to stop the download.

    Raises:
        BadArtefact: it is too large.
        NotFound: there is no such object.
        ServerUnavailable: S3 does not answer.
        SetupError: the disk is full.
    """
    digest, size = hashlib.sha256(), 0
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        with body, path.open("wb") as out:
            while part := body.read(1 << 20):
                check_cancelled()
                digest.update(part)
                out.write(part)
                size += len(part)
                if size > MAX_BYTES:
                    raise BadArtefact(f"s3://{bucket}/{key} has more than {MAX_BYTES >> 30} GiB: split it")
    except (ClientError, BotoCoreError) as error:
        raise unreadable(error, f"s3://{bucket}/{key[:500]}") from error
    except OSError as error:
        raise SetupError(f"fetching s3://{bucket}/{key[:500]} failed: {error}; free some disk and repeat") from error
    return digest.digest()
