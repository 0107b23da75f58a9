"""Profiles of hours on S3: s3://{bucket}/quality/drift/hour=YYYY-MM-DDTHH.json, some 8 KB each."""

import json
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import BadArtefact, NotFound, ServerUnavailable
from neardup_platform.hourly_quality.profile import Profile, decode_profile, encode_profile
from neardup_platform.s3_client import read_bounded

_MOST_BYTES = 1 << 20


def profile_key(hour: datetime) -> str:
    """The key of an hour."""
    return f"quality/drift/hour={hour:%Y-%m-%dT%H}.json"


def put_profile(s3: Any, bucket: str, hour: datetime, profile: Profile) -> None:
    """Write a profile, replacing an earlier one of the hour.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    key = profile_key(hour)
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(encode_profile(profile)).encode())
    except (BotoCoreError, ClientError) as error:
        raise ServerUnavailable(f"writing s3://{bucket}/{key} failed: {error}") from error


def find_profile(s3: Any, bucket: str, hour: datetime) -> Profile | None:
    """The profile of an hour; None if it is not measured, or was by another version.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    key = profile_key(hour)
    try:
        content = read_bounded(s3, bucket, key, _MOST_BYTES)
        return decode_profile(json.loads(content), f"s3://{bucket}/{key}")
    except (NotFound, BadArtefact, ValueError):
        return None
