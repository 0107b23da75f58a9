"""Coverage of hours on S3: s3://{bucket}/quality/coverage/hour=YYYY-MM-DDTHH.json, some 500 bytes each.

Reports read it; they need no Dagster instance.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from neardup_platform.errors import BadArtefact, NotFound
from neardup_platform.hourly_quality.coverage import Coverage
from neardup_platform.hourly_quality.duckdb_coverage import Fates
from neardup_platform.hourly_quality.s3_json import put_json, read_json

VERSION = 1


def coverage_key(hour: datetime) -> str:
    """The key of an hour."""
    return f"quality/coverage/hour={hour:%Y-%m-%dT%H}.json"


def encode_coverage(found: Coverage) -> dict[str, Any]:
    """An hour as JSON values; of the images that are unexplained, only the lost ones are named."""
    fates = {name: value for name, value in asdict(found.fates).items() if name != "unexplained_ids"}
    moments = {"hour": found.hour.isoformat(), "until": found.until.isoformat()}
    return {"version": VERSION, **asdict(found), **moments, "fates": fates}


def decode_coverage(content: Any, place: str) -> Coverage:
    """An hour from JSON values.

    Raises:
        BadArtefact: it is none, or of another version.
    """
    try:
        if content["version"] != VERSION:
            raise ValueError(f"it has version {content['version']}, expected {VERSION}")
        moments = {name: datetime.fromisoformat(content[name]) for name in ("hour", "until")}
        fates = Fates(**{"unexplained_ids": (), **_known(Fates, content["fates"])})
        return Coverage(**{**_known(Coverage, content), **moments, "fates": fates})
    except (KeyError, TypeError, ValueError) as error:
        raise BadArtefact(f"coverage {place}: {error}: materialise that hour of quality/coverage again") from error


def put_coverage(s3: Any, bucket: str, found: Coverage) -> None:
    """Write an hour, replacing an earlier one.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    put_json(s3, bucket, coverage_key(found.hour), encode_coverage(found))


def find_coverage(s3: Any, bucket: str, hour: datetime) -> Coverage | None:
    """The coverage of an hour; None if it is not measured, or was by another version.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    key = coverage_key(hour)
    try:
        return decode_coverage(read_json(s3, bucket, key), f"s3://{bucket}/{key}")
    except (NotFound, BadArtefact, ValueError):
        return None


def _known(kind: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the fields of a class; those of later versions are left out."""
    names = {field.name for field in fields(kind)}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in content.items() if name in names}
