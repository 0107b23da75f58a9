"""A report from start to end: measures and examples from S3, pictures from the API, one page and its plots.

Assets and the command `neardup report` call it; the same measures give the same report, apart from pictures that
are no longer there.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from neardup_platform.quality_report.duckdb_examples import read_examples
from neardup_platform.quality_report.examples import Examples, together
from neardup_platform.quality_report.html_report import render
from neardup_platform.quality_report.matplotlib_trends import PLOTS
from neardup_platform.quality_report.period import Period
from neardup_platform.quality_report.pillow_thumbnails import thumbnails
from neardup_platform.quality_report.s3_measures import read_measures
from neardup_platform.quality_report.summary import Hour, Summary, needed_hours, summarise
from neardup_platform.settings import Settings
from neardup_platform.topic_logs.s3_hours import fetch_hour
from neardup_platform.topic_logs.topic_log import DECISIONS

# Hours whose decisions are read for examples: all of a day; of a week those where most was held apart and joined.
MOST_SAMPLED_HOURS = 24

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class QualityReport:
    """A report.

    Attributes:
        page: HTML.
        examples: those that it shows.
    """

    summary: Summary
    page: str
    examples: Examples

    def files(self) -> dict[str, bytes]:
        """What is stored, by name: the page, and each plot for a light background."""
        plots = {f"{plot.name}.png": plot.png(self.summary) for plot in PLOTS}
        return {**plots, "report.html": self.page.encode()}


def make_report(
    settings: Settings, s3: Any, period: Period, now: datetime, report: Report = lambda _: None
) -> QualityReport:
    """Make the report of a period; nothing is written.

    Args:
        settings: resolved.
        s3: a boto3 client.
        now: the clock, with time zone.
        report: called with what is being done.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    bucket = settings.s3.bucket
    report(f"reading the measures of {period.title}")
    found = summarise(period, read_measures(s3, bucket, needed_hours(period)), settings.quality, now)
    sampled = sampled_hours(found.hours)
    parts = list(_examples(s3, bucket, sampled, report))
    examples = together(parts)
    shown = settings.quality.report_pictures
    pictures = thumbnails(settings, examples.image_ids()) if shown else {}
    return QualityReport(found, render(settings, found, examples, pictures, len(parts)), examples)


def sampled_hours(hours: Sequence[Hour]) -> list[datetime]:
    """The hours that examples are taken from, ascending."""
    measured = [hour for hour in hours if hour.measures.profile and hour.measures.profile.decisions]
    ranked = sorted(measured, key=_interest, reverse=True)[:MOST_SAMPLED_HOURS]
    return sorted(hour.start for hour in ranked)


def _interest(hour: Hour) -> tuple[int, int]:
    profile = hour.measures.profile
    return (profile.held_apart, profile.joined) if profile else (0, 0)


def _examples(s3: Any, bucket: str, hours: Iterable[datetime], report: Report) -> Iterable[Examples]:
    """Examples of each hour whose decisions are there; one hour at a time on disk."""
    for hour in hours:
        with tempfile.TemporaryDirectory(prefix="neardup-report-") as name:
            report(f"reading the decisions of {hour:%Y-%m-%dT%H}")
            files = fetch_hour(s3, bucket, DECISIONS, hour, Path(name))
            if files:
                yield read_examples(files, Path(name))
