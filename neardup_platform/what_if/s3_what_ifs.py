"""The newest what-if of each classifier on S3, so that its promotion can show it.

    s3://{bucket}/quality/what-if/{version}.json

One object for each classifier that was tried; a later what-if replaces it. It has numbers and no image.
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


def put_what_if(s3: Any, settings: S3Settings, answer: dict[str, Any], at_ms: int) -> None:
    """Keeps the answer about a classifier.

    Args:
        s3: a boto3 client; the bucket is created if it is missing.
        answer: as `WhatIf.flat` returns it, with a classifier.
        at_ms: when it was computed, Unix milliseconds.

    Raises:
        ServerUnavailable: S3 does not answer or refuses.
    """
    kept = {"at_ms": at_ms, **{name: value for name, value in answer.items() if name not in _LEFT_OUT}}
    ensure_bucket(s3, settings)
    key = f"{_PREFIX}/{answer['classifier']}.json"
    try:
        s3.put_object(Bucket=settings.bucket, Key=key, Body=json.dumps(kept).encode())
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"writing s3://{settings.bucket}/{key} failed: {error}") from error


def newest_what_if(s3: Any, settings: S3Settings, version: str) -> dict[str, Any] | None:
    """Returns the newest answer about a classifier; None if there is none, or it cannot be read."""
    try:
        found = json.loads(read_bounded(s3, settings.bucket, f"{_PREFIX}/{version}.json", _MAX_BYTES))
    except (NotFound, ServerUnavailable, ValueError):
        return None
    return found if isinstance(found, dict) else None
