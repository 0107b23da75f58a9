"""Measures of hours on S3, each a JSON object of a known bucket and key."""

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import ServerUnavailable
from neardup_platform.s3_client import read_bounded

# The largest sample of images, all with the longest ids, and none decided the same again.
_MOST_BYTES = 1 << 25


def put_json(s3: Any, bucket: str, key: str, content: Any) -> None:
    """Write an object, replacing an earlier one.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(content).encode())
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error


def read_json(s3: Any, bucket: str, key: str) -> Any:
    """The content of an object.

    Raises:
        NotFound: there is none.
        ValueError: it is no JSON.
        ServerUnavailable: S3 does not answer.
    """
    return json.loads(read_bounded(s3, bucket, key, _MOST_BYTES))
