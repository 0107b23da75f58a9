"""A period in numbers: its hours, their totals, and what needs attention. Pure.

Measures of hours → **totals of the period, of the one before, of each day; problems** → words, plots, HTML
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Literal

from neardup_platform.hourly_quality.coverage import judge_coverage
from neardup_platform.hourly_quality.drift import Drift, drift_of, judge_drift
from neardup_platform.hourly_quality.measured_drift import REFERENCE_HOURS, enough
from neardup_platform.hourly_quality.profile import Profile, total
from neardup_platform.hourly_quality.recall import judge_recall
from neardup_platform.hourly_quality.verdicts import Verdict
from neardup_platform.quality_report.period import Period, day_of
from neardup_platform.quality_report.s3_measures import Measures
from neardup_platform.settings import QualitySettings

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
# Days before the end of a period whose totals are shown.
TREND_DAYS = {"day": 14, "week": 28}

State = Literal["well", "look", "act", "quiet", "unknown"]


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour.

    Attributes:
        problems: what its checks say.
        drift: how far it differs from the 24 hours before it; None where it is not measured.
    """

    start: datetime
    measures: Measures
    problems: tuple[Verdict, ...]
    drift: Drift | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over the measured hours of a time.

    Attributes:
        hours: that it has, and that have ended.
        measured: of them.
        announced: images.
        decided: of them; those that were announced again included.
        refused, unpaired, lost, unverified: of them, images without a decision, by reason.
        decisions: of the stream.
        joined: of them, those that joined a cluster; the others founded one.
        held_apart: of them, from a cluster that looks like a chain, or is in quarantine.
        most_joined, crowded: the largest number of images that joined one cluster in an hour, and its head.
        p50_ms, p99_ms: from the last embedding to the decision, in the middle hour; None without a decision.
        slowest_ms, slowest: the largest 99th percentile of an hour, and which hour.
        matches, missed: sampled near pairs that match: those that were found, and those that were not.
        decided_again, differing: sampled images, and those of them that would be elsewhere if decided now.
        unsampled: measured hours in which neither could be measured, as the API did not answer.
    """

    hours: int
    measured: int
    announced: int
    decided: int
    refused: int
    unpaired: int
    lost: int
    unverified: int
    decisions: int
    joined: int
    held_apart: int
    most_joined: int
    crowded: str
    p50_ms: float | None
    p99_ms: float | None
    slowest_ms: float | None
    slowest: datetime | None
    matches: int
    missed: int
    decided_again: int
    differing: int
    unsampled: int

    @property
    def found_share(self) -> float | None:
        """Of the sampled matching pairs; None without any."""
        known = self.matches + self.missed
        return self.matches / known if known else None

    @property
    def agreement(self) -> float | None:
        """The share of sampled images that would be decided the same now; None without any."""
        return 1 - self.differing / self.decided_again if self.decided_again else None

    @property
    def founded(self) -> int:
        """Images that founded a cluster of their own."""
        return self.decisions - self.joined

    @property
    def decided_share(self) -> float | None:
        """Of the images announced; None without any."""
        return self.decided / self.announced if self.announced else None

    @property
    def joined_share(self) -> float | None:
        """Of the decisions; None without any."""
        return self.joined / self.decisions if self.decisions else None


@dataclass(frozen=True, slots=True)
class Issue:
    """What a check of an hour said, in one or more hours.

    Attributes:
        name: of the check.
        severe: whether images may be missing.
        hours: in which.
        text: what it says about the last of them, with the next step.
    """

    name: str
    severe: bool
    hours: tuple[datetime, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A period.

    Attributes:
        now: when it was summed up; hours that end later are not over.
        hours: those that are over.
        previous: the hours of the period before, as many as are known of or not.
        totals: of the period.
        before: of the same hours of the period before: those that are measured in this one.
        days: totals by day, the oldest first, up to the end of the period.
        issues: the severe ones first.
        missing: hours that are over and not measured, or not completely.
        began: the first measured hour of all, if that is in the period; those before it are not missing.
        limits: by which hours are judged.
    """

    period: Period
    now: datetime
    hours: tuple[Hour, ...]
    previous: tuple[Measures, ...]
    totals: Totals
    before: Totals
    days: tuple[tuple[datetime, Totals], ...]
    issues: tuple[Issue, ...]
    missing: tuple[datetime, ...]
    began: datetime | None
    limits: QualitySettings

    @property
    def state(self) -> State:
        """How it was, in one word."""
        if not self.totals.measured:
            return "unknown"
        if any(issue.severe for issue in self.issues):
            return "act"
        if self.issues or self.missing:
            return "look"
        return "well" if self.totals.announced else "quiet"

    @property
    def compared(self) -> bool:
        """Whether there is a period before to compare with."""
        return self.before.measured > 0


def needed_hours(period: Period) -> list[datetime]:
    """The hours whose measures `summarise` needs, ascending."""
    begin = min(period.end - TREND_DAYS[period.kind] * _DAY, period.before.begin - REFERENCE_HOURS * _HOUR)
    return [begin + n * _HOUR for n in range((period.end - begin) // _HOUR)]


def summarise(period: Period, measures: Mapping[datetime, Measures], limits: QualitySettings, now: datetime) -> Summary:
    """Sum a period up.

    Args:
        measures: of `needed_hours`.
        limits: by which hours are judged.
        now: with time zone.
    """
    hours = tuple(_hour(hour, measures, limits) for hour in period.hours if hour + _HOUR <= now)
    previous = tuple(measures.get(hour, Measures()) for hour in period.before.hours)
    began = min((hour for hour, found in measures.items() if found.known), default=period.end)
    return Summary(
        period=period,
        now=now,
        hours=hours,
        previous=previous,
        totals=totals([hour.measures for hour in hours]),
        # The same hours of both: some of this one may be missing, or not be over.
        before=totals([each for each, hour in zip(previous, hours, strict=False) if hour.measures.known]),
        days=tuple(_days(period, measures, now)),
        issues=tuple(_issues(hours)),
        missing=tuple(hour.start for hour in hours if hour.start >= began and not hour.measures.complete),
        began=began if period.begin < began < period.end else None,
        limits=limits,
    )


def totals(hours: Sequence[Measures]) -> Totals:
    """The sums over the measured hours."""
    known = [hour.coverage for hour in hours if hour.coverage]
    sums = total(hour.profile for hour in hours if hour.profile)
    sampled = [hour.recall for hour in hours if hour.recall]
    timed = [found for found in known if found.fates.latency_ms]
    slowest = max(timed, key=lambda found: found.fates.latency_ms[2], default=None)
    return Totals(
        hours=len(hours),
        measured=sum(hour.known for hour in hours),
        announced=sum(found.fates.announced for found in known),
        decided=sum(found.fates.decided + found.known for found in known),
        refused=sum(found.fates.refused for found in known),
        unpaired=sum(found.fates.expired + found.fates.incomplete for found in known),
        lost=sum(found.lost for found in known),
        unverified=sum(found.unverified for found in known),
        decisions=sums.decisions,
        joined=sums.joined,
        held_apart=sums.held_apart,
        most_joined=sums.most_joined,
        crowded=sums.crowded,
        p50_ms=median(found.fates.latency_ms[0] for found in timed) if timed else None,
        p99_ms=median(found.fates.latency_ms[2] for found in timed) if timed else None,
        slowest_ms=slowest.fates.latency_ms[2] if slowest else None,
        slowest=slowest.hour if slowest else None,
        matches=sum(found.matches for found in sampled),
        missed=sum(len(found.missed) for found in sampled),
        decided_again=sum(found.decided_again for found in sampled),
        differing=sum(len(found.disagreements) for found in sampled),
        unsampled=sum(bool(found.unmeasured) for found in sampled),
    )


def _hour(start: datetime, measures: Mapping[datetime, Measures], limits: QualitySettings) -> Hour:
    found = measures.get(start, Measures())
    verdicts = judge_coverage(found.coverage, limits) if found.coverage else []
    if found.recall and not found.recall.unmeasured:
        verdicts += judge_recall(found.recall, limits)
    drift = None
    if found.profile:
        before = (measures.get(start - n * _HOUR, Measures()).profile for n in range(REFERENCE_HOURS, 0, -1))
        reference: Profile = total(enough(before))
        drift = drift_of(found.profile, reference)
        verdicts += judge_drift(found.profile, reference, limits)
    return Hour(start, found, tuple(verdict for verdict in verdicts if verdict.problem is not None), drift)


def _days(period: Period, measures: Mapping[datetime, Measures], now: datetime) -> Iterable[tuple[datetime, Totals]]:
    for n in range(TREND_DAYS[period.kind], 0, -1):
        day = day_of(period.end - n * _DAY)
        found = totals([measures.get(hour, Measures()) for hour in day.hours if hour + _HOUR <= now])
        if found.measured:
            yield day.begin, found


def _issues(hours: Iterable[Hour]) -> list[Issue]:
    """What the checks of the hours say; the severe ones first, then the most frequent."""
    found: dict[str, list[tuple[datetime, Verdict]]] = {}
    for hour in hours:
        for verdict in hour.problems:
            found.setdefault(verdict.name, []).append((hour.start, verdict))
    issues = [
        Issue(
            name,
            any(verdict.severe for _, verdict in each),
            tuple(at for at, _ in each),
            each[-1][1].problem or "",
        )
        for name, each in found.items()
    ]
    return sorted(issues, key=lambda issue: (not issue.severe, -len(issue.hours), issue.name))
