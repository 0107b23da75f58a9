"""The what-ifs of each classifier on S3, so that its promotion can show the newest.

    s3://{bucket}/quality/what-if/{version}/{Unix milliseconds, 13 digits}.json

An object for each what-if, so that what a run names stays; the newest `MOST_KEPT` of a classifier do. It has numbers
and no image. Earlier releases kept one for each classifier, as {version}.json.
"""

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import NotFound, ServerUnavailable
from neardup_platform.s3_client import ensure_bucket, read_bounded
from neardup_platform.settings import S3Settings

_PREFIX = "quality/what-if"
_MAX_BYTES = 1 << 20
_LEFT_OUT = ("examples",)
MOST_KEPT = 20


def put_what_if(s3: Any, settings: S3Settings, answer: dict[str, Any], at_ms: int) -> str:
    """Keeps the answer about a classifier; returns where.

    Args:
        s3: a boto3 client; the bucket is created if it is missing.
        answer: as `WhatIf.flat` returns it, with a classifier.
        at_ms: when it was computed, Unix milliseconds.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    kept = {"at_ms": at_ms, **{name: value for name, value in answer.items() if name not in _LEFT_OUT}}
    ensure_bucket(s3, settings)
    key = f"{_PREFIX}/{answer['classifier']}/{at_ms:013d}.json"
    try:
        s3.put_object(Bucket=settings.bucket, Key=key, Body=json.dumps(kept).encode())
        for old in _kept(s3, settings, answer["classifier"])[:-MOST_KEPT]:
            s3.delete_object(Bucket=settings.bucket, Key=old)
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"writing s3://{settings.bucket}/{key} failed: {error}") from error
    return f"s3://{settings.bucket}/{key}"


def newest_what_if(s3: Any, settings: S3Settings, version: str) -> dict[str, Any] | None:
    """Returns the newest answer about a classifier; None if there is none, or it cannot be read."""
    try:
        key = next(reversed(_kept(s3, settings, version)), f"{_PREFIX}/{version}.json")
        found = json.loads(read_bounded(s3, settings.bucket, key, _MAX_BYTES))
    except (BotoCoreError, ClientError, NotFound, ServerUnavailable, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _kept(s3: Any, settings: S3Settings, version: str) -> list[str]:
    """The keys of the what-ifs of a classifier, oldest first; at most `MOST_KEPT` and one."""
    page = s3.list_objects_v2(Bucket=settings.bucket, Prefix=f"{_PREFIX}/{version}/")
    return sorted(entry["Key"] for entry in page.get("Contents", ()))
