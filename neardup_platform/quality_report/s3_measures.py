"""What `quality/coverage`, `quality/drift` and `quality/recall` measured for some hours, read from S3."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from neardup_platform.hourly_quality.coverage import Coverage
from neardup_platform.hourly_quality.profile import Profile
from neardup_platform.hourly_quality.recall import Recall
from neardup_platform.hourly_quality.s3_coverage import find_coverage
from neardup_platform.hourly_quality.s3_profiles import find_profile
from neardup_platform.hourly_quality.s3_recall import find_recall

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Measures:
    """What is known of an hour; None where it is not measured.

    Of an hour that an earlier release measured, recall is not kept; it is not needed for an hour to be complete.
    """

    coverage: Coverage | None = None
    profile: Profile | None = None
    recall: Recall | None = None

    @property
    def known(self) -> bool:
        """Whether anything is."""
        return self.coverage is not None or self.profile is not None

    @property
    def complete(self) -> bool:
        """Whether coverage and drift are."""
        return self.coverage is not None and self.profile is not None


def read_measures(s3: Any, bucket: str, hours: Iterable[datetime]) -> Mapping[datetime, Measures]:
    """The measures of some hours.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    listed = list(hours)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        coverages = threads.map(partial(find_coverage, s3, bucket), listed)
        profiles = threads.map(partial(find_profile, s3, bucket), listed)
        recalls = threads.map(partial(find_recall, s3, bucket), listed)
        found = map(Measures, coverages, profiles, recalls)
        return dict(zip(listed, found, strict=True))
