"""Segments on S3: Parquet files of images, put by whoever has them and fetched by the worker once told to."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, ServerUnavailable, SetupError

PREFIX = "segments"
MAX_BYTES = 16 << 30


def put_segment(s3: Any, bucket: str, file: Path) -> str:
    """Put a file into the bucket; returns its key, which its content gives.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    with file.open("rb") as opened:
        key = f"{PREFIX}/{hashlib.file_digest(opened, 'sha256').hexdigest()}.parquet"
    try:
        s3.upload_file(str(file), bucket, key)
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error
    return key


def fetch_segment(s3: Any, bucket: str, key: str, path: Path, going_on: Callable[[], None] = lambda: None) -> bytes:
    """Download a segment; returns its SHA-256.

    Args:
        going_on: called for each megabyte; raises to end it.

    Raises:
        BadArtefact: it is too large.
        ServerUnavailable: there is none, or S3 does not answer.
        SetupError: the disk is full.
    """
    digest, size = hashlib.sha256(), 0
    try:
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        with body, path.open("wb") as out:
            while part := body.read(1 << 20):
                going_on()
                digest.update(part)
                out.write(part)
                size += len(part)
                if size > MAX_BYTES:
                    raise BadArtefact(f"s3://{bucket}/{key} has more than {MAX_BYTES >> 30} GiB: cut it into several")
    except (ClientError, BotoCoreError) as error:
        raise ServerUnavailable(f"s3://{bucket}/{key[:500]} cannot be read: {error}") from error
    except OSError as error:
        raise SetupError(f"fetching s3://{bucket}/{key[:500]} failed: {error}; free some disk and repeat") from error
    return digest.digest()
