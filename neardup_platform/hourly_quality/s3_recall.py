"""Recall of hours on S3: s3://{bucket}/quality/recall/hour=YYYY-MM-DDTHH.json, a few KB each. Reports read it."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from neardup_platform.errors import BadArtefact, NotFound
from neardup_platform.hourly_quality.recall import Disagreement, MissedPair, Recall
from neardup_platform.hourly_quality.s3_json import put_json, read_json

VERSION = 1


def recall_key(hour: datetime) -> str:
    """The key of an hour."""
    return f"quality/recall/hour={hour:%Y-%m-%dT%H}.json"


def encode_recall(found: Recall) -> dict[str, Any]:
    """An hour as JSON values."""
    return {"version": VERSION, **asdict(found), "hour": found.hour.isoformat()}


def decode_recall(content: Any, place: str) -> Recall:
    """An hour from JSON values; fields of later releases are left out.

    Raises:
        BadArtefact: it is none, or of another version.
    """
    try:
        if content["version"] != VERSION:
            raise ValueError(f"it has version {content['version']}, expected {VERSION}")
        known = {name: content[name] for name in Recall.__dataclass_fields__ if name in content}
        lists = {
            "missed": tuple(MissedPair(*each) for each in content["missed"]),
            "disagreements": tuple(Disagreement(*each) for each in content["disagreements"]),
        }
        return Recall(**{**known, **lists, "hour": datetime.fromisoformat(content["hour"])})
    except (KeyError, TypeError, ValueError) as error:
        raise BadArtefact(f"recall {place}: {error}: materialise that hour of quality/recall again") from error


def put_recall(s3: Any, bucket: str, found: Recall) -> None:
    """Write an hour, replacing an earlier one.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    put_json(s3, bucket, recall_key(found.hour), encode_recall(found))


def find_recall(s3: Any, bucket: str, hour: datetime) -> Recall | None:
    """The recall of an hour; None if it is not measured, or was by another version.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    key = recall_key(hour)
    try:
        return decode_recall(read_json(s3, bucket, key), f"s3://{bucket}/{key}")
    except (NotFound, BadArtefact, ValueError):
        return None
