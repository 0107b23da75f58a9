"""How far an hour differs from the day before it.

Logs of the hour → its profile, kept on S3 → **compared with the sum of those of the 24 hours before** → verdicts
"""

import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from neardup_platform.errors import NotFound
from neardup_platform.hourly_quality.drift import Drift, drift_of
from neardup_platform.hourly_quality.duckdb_profile import read_profile
from neardup_platform.hourly_quality.profile import Profile, total
from neardup_platform.hourly_quality.s3_hours import fetch_hour
from neardup_platform.hourly_quality.s3_profiles import find_profile, put_profile
from neardup_platform.settings import Settings
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.topic_logs.topic_log import DECISIONS, LSH_EMBEDDINGS

REFERENCE_HOURS = 24


@dataclass(frozen=True, slots=True)
class MeasuredDrift:
    """An hour against those before it.

    Attributes:
        hours: measured hours in the reference.
    """

    hour: Profile
    reference: Profile
    hours: int
    drift: Drift


def measure_drift(settings: Settings, s3: Any, hour: datetime) -> MeasuredDrift:
    """Measure an hour and keep its profile.

    Args:
        settings: resolved.
        s3: a boto3 client.
        hour: its start, with time zone; its logs must be materialised.

    Raises:
        NotFound: a log of the hour is not materialised.
        ServerUnavailable: S3 does not answer.
    """
    bucket = settings.s3.bucket
    with tempfile.TemporaryDirectory(prefix="neardup-drift-") as name:
        folder, files = Path(name), dict[str, list[Path]]()
        for log in (DECISIONS, LSH_EMBEDDINGS):
            found = fetch_hour(s3, bucket, log, hour, folder)
            if found is None:
                raise NotFound(f"the hour {hour:%Y-%m-%dT%H} of logs/{log.name} is not materialised: materialise it")
            files[log.name] = found
        space = load_term_space(settings.terms.space)
        profile = read_profile(files[DECISIONS.name], files[LSH_EMBEDDINGS.name], space, folder)
    put_profile(s3, bucket, hour, profile)
    before = [find_profile(s3, bucket, hour - timedelta(hours=n)) for n in range(REFERENCE_HOURS, 0, -1)]
    known = [each for each in before if each is not None]
    reference = total(known)
    return MeasuredDrift(profile, reference, len(known), drift_of(profile, reference))
