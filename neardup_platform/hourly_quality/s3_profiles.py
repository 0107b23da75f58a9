"""Profiles on S3, and which of them are of the first hours of a classifier.

| object under `quality/drift/` | content |
|---|---|
| `hour=YYYY-MM-DDTHH.json` | the profile of an hour, some 16 KB |
| `classifier=VERSION.json` | the first hours that it decided, at most 24 |
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from neardup_platform.errors import BadArtefact, NotFound
from neardup_platform.hourly_quality.profile import Profile, decode_profile, encode_profile
from neardup_platform.hourly_quality.s3_json import put_json, read_json


def profile_key(hour: datetime) -> str:
    """The key of an hour."""
    return f"quality/drift/hour={hour:%Y-%m-%dT%H}.json"


def start_key(classifier: str) -> str:
    """The key of the first hours of a classifier."""
    return f"quality/drift/classifier={quote(classifier, safe='')}.json"


def put_profile(s3: Any, bucket: str, hour: datetime, profile: Profile) -> None:
    """Write a profile, replacing an earlier one of the hour.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    put_json(s3, bucket, profile_key(hour), encode_profile(profile))


def find_profile(s3: Any, bucket: str, hour: datetime) -> Profile | None:
    """The profile of an hour; None if it is not measured, or was by another version.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    key = profile_key(hour)
    try:
        return decode_profile(read_json(s3, bucket, key), f"s3://{bucket}/{key}")
    except (NotFound, BadArtefact, ValueError):
        return None


def put_start(s3: Any, bucket: str, classifier: str, hours: Sequence[datetime]) -> None:
    """Write the first hours of a classifier.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    put_json(s3, bucket, start_key(classifier), {"hours": [each.isoformat() for each in hours]})


def find_start(s3: Any, bucket: str, classifier: str) -> tuple[datetime, ...]:
    """The first hours of a classifier; none if it has decided none, or the object is damaged.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    try:
        return tuple(datetime.fromisoformat(each) for each in read_json(s3, bucket, start_key(classifier))["hours"])
    except (NotFound, KeyError, TypeError, ValueError):
        return ()
