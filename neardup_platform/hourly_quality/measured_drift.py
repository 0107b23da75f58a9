"""How far an hour differs from the day before it, and from the first day of its classifier.

Logs of the hour → its profile, kept on S3 → **compared with the sum of those of the 24 hours before, and of the first
24 hours that its classifier decided** → verdicts
"""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from neardup_platform.errors import NotFound
from neardup_platform.hourly_quality.drift import LEAST_DECISIONS, Drift, drift_of
from neardup_platform.hourly_quality.duckdb_profile import read_profile
from neardup_platform.hourly_quality.profile import Profile, total
from neardup_platform.hourly_quality.s3_profiles import find_profile, find_start, put_profile, put_start
from neardup_platform.settings import Settings
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.topic_logs.s3_hours import fetch_hour
from neardup_platform.topic_logs.topic_log import DECISIONS, LSH_EMBEDDINGS

REFERENCE_HOURS = 24
# Of fewer, the time of the day and the growth of a young corpus are all that is seen.
LEAST_HOURS = 3


@dataclass(frozen=True, slots=True)
class MeasuredDrift:
    """An hour against those before it.

    Attributes:
        hours: measured hours in the reference; 0 if they are fewer than `LEAST_HOURS`.
        start: sum of the first hours that the classifier of the hour decided.
        start_hours: those hours, this one among them on the first day; empty if several classifiers decided this one.
    """

    hour: Profile
    reference: Profile
    hours: int
    drift: Drift
    start: Profile
    start_hours: tuple[datetime, ...]


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
    found_profiles = {hour: profile}

    def profile_of(each: datetime) -> Profile | None:
        if each not in found_profiles and (there := find_profile(s3, bucket, each)) is not None:
            found_profiles[each] = there
        return found_profiles.get(each)

    before = [profile_of(hour - timedelta(hours=n)) for n in range(REFERENCE_HOURS, 0, -1)]
    known = enough(before)
    start_hours = _start_hours(s3, bucket, hour, profile)
    # Its own scores would hide how far they are from the rest.
    started = [profile_of(each) for each in start_hours if each != hour]
    reference, start = total(known), total(enough(started))
    drift = drift_of(profile, reference, start)
    return MeasuredDrift(profile, reference, len(known), drift, start, start_hours)


def enough(hours: Iterable[Profile | None]) -> list[Profile]:
    """The measured ones of some hours; none where they are too few to judge by."""
    known = [each for each in hours if each is not None]
    return known if len(known) >= LEAST_HOURS else []


def _start_hours(s3: Any, bucket: str, hour: datetime, profile: Profile) -> tuple[datetime, ...]:
    """The first hours that the classifier of an hour decided alone; the hour becomes one of them if there are few.

    An hour with little traffic is none of them.
    """
    classifiers = [name.split(" ", 1)[1] for name in profile.versions if name.startswith("classifier ")]
    if len(classifiers) != 1:
        return ()
    hours = find_start(s3, bucket, classifiers[0])
    if hour in hours or len(hours) >= REFERENCE_HOURS or profile.decisions < LEAST_DECISIONS:
        return hours
    hours = tuple(sorted((*hours, hour)))
    put_start(s3, bucket, classifiers[0], hours)
    return hours
