"""S3 for batch work, worker and API: one client for AWS, the embedded server or any other; bounded reads."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import NotFound, ServerUnavailable, SetupError
from neardup_platform.settings import S3Settings

HEAD_BYTES = 256


def open_s3(settings: S3Settings) -> Any:
    """A boto3 client; without keys in the settings, boto3's own chain (environment, profile, role) applies.

    Raises:
        SetupError: there is no endpoint.
    """
    if settings.endpoint is None:
        raise SetupError("no S3 address: run `neardup up`, or set NEARDUP_S3_ENDPOINT (`aws` for AWS itself)")
    return boto3.client(
        "s3",
        endpoint_url=None if settings.endpoint == "aws" else settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key.get_secret_value() if settings.access_key else None,
        aws_secret_access_key=settings.secret_key.get_secret_value() if settings.secret_key else None,
        config=Config(
            retries={"max_attempts": 5, "mode": "standard"},
            connect_timeout=5,
            read_timeout=30,
            s3={"addressing_style": "auto" if settings.endpoint == "aws" else "path"},
        ),
    )


def ensure_bucket(s3: Any, settings: S3Settings) -> None:
    """Create the bucket if it is missing.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    try:
        names = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        if settings.bucket not in names:
            s3.create_bucket(Bucket=settings.bucket)
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"S3 at {settings.endpoint}, bucket {settings.bucket}: {error}") from error


def read_bounded(
    s3: Any, bucket: str, key: str, max_bytes: int, check_head: Callable[[bytes], None] = lambda _: None
) -> bytes:
    """At most `max_bytes` + 1 bytes of an object, so that the caller can tell that it is too large.

    Args:
        check_head: called with its first `HEAD_BYTES` before more is read; an error that it raises ends the read.

    Raises:
        NotFound: the object does not exist.
        ServerUnavailable: S3 does not answer, or not correctly.
    """
    try:
        with closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            head: bytes = body.read(min(HEAD_BYTES, max_bytes + 1))
            check_head(head)
            # An empty read after the end would wait for more data on the connection.
            rest: bytes = body.read(max_bytes + 1 - len(head)) if len(head) == HEAD_BYTES else b""
    except (ClientError, BotoCoreError) as error:
        raise unreadable(error, f"s3://{bucket}/{key}") from error
    return head + rest


def unreadable(error: Exception, place: str) -> NotFound | ServerUnavailable:
    """What an error of reading an object means: it is not there, or S3 does not answer, or not correctly."""
    if isinstance(error, ClientError) and error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) < 500:
        return NotFound(f"{place} cannot be read: {error}")
    return ServerUnavailable(f"{place} cannot be read: {error}")


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` uri.

    Raises:
        NotFound: it has no bucket.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise NotFound(f"{uri!r} has no bucket: expected s3://bucket/prefix")
    return bucket, key
