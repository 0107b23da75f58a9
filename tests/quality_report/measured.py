"""Measures of hours, for tests of what sums them up."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from neardup_platform.hourly_quality.coverage import Coverage
from neardup_platform.hourly_quality.duckdb_coverage import Fates
from neardup_platform.hourly_quality.profile import CANDIDATE_BINS, SCORE_BINS, Profile
from neardup_platform.hourly_quality.recall import MissedPair, Recall
from neardup_platform.quality_report.period import Period
from neardup_platform.quality_report.s3_measures import Measures
from neardup_platform.quality_report.summary import Summary, summarise
from neardup_platform.settings import QualitySettings

HOUR = timedelta(hours=1)
DAY = Period("day", datetime(2025, 11, 26, tzinfo=UTC))
WEEK = Period("week", datetime(2025, 11, 24, tzinfo=UTC))
AFTER = DAY.end + HOUR


def hour(
    start: datetime,
    images: int = 1_000,
    *,
    lost: Sequence[str] = (),
    refused: int = 0,
    joined: int = 300,
    missed: tuple[MissedPair, ...] = (),
    unmeasured: str = "",
    **more: Any,
) -> Measures:
    """An hour of `images` images, of which some joined a cluster and the others founded one."""
    decided = images - len(lost) - refused
    latency_ms: tuple[float, ...] = more.pop("latency_ms", (50.0, 80.0, 100.0, 120.0)) if decided else ()
    fates = Fates(images, decided, refused, 0, 0, len(lost), tuple(lost), latency_ms, images, images)
    coverage = Coverage(start, start + HOUR, fates, 0, len(lost), tuple(lost), 0)
    sampled = Recall(start, sampled=100, matches=50, missed=missed, decided_again=100, unmeasured=unmeasured)
    profile = {"scores": (decided,) + (0,) * (SCORE_BINS - 1), "candidates": (decided,) + (0,) * (CANDIDATE_BINS - 1)}
    return Measures(coverage, Profile(decisions=decided, joined=min(joined, decided), **{**profile, **more}), sampled)


def hours(period: Period, **given: Any) -> dict[datetime, Measures]:
    """Every hour of a period."""
    return {start: hour(start, **given) for start in period.hours}


def summary(
    measures: dict[datetime, Measures], period: Period = DAY, now: datetime = AFTER, limits: Any = None
) -> Summary:
    """A period summed up."""
    return summarise(period, measures, limits or QualitySettings(), now)
