"""The assets `quality/report/daily` and `quality/report/weekly`: how a day or a week was, as a page for people.

quality/coverage, quality/drift, logs/decisions → **quality/report/…** → report.html and PNG on S3
"""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.coverage import coverage
from assets.decisions_log import decisions_log
from assets.drift import drift
from assets.markdown_pictures import picture
from assets.recall import recall
from assets.table_metadata import URI
from neardup_platform.errors import PermanentError
from resources.code_references import code_reference
from resources.platform import PlatformResource, logs_start

if TYPE_CHECKING:
    from neardup_platform.quality_report.make_report import QualityReport
    from neardup_platform.quality_report.period import Period

# Plots on the page of the asset; all of them are in the report.
_SHOWN = ("arrivals", "latency", "duplicates", "recall", "undecided")
_COUNTS = (
    *("announced", "decided", "refused", "unpaired", "lost"),
    *("joined", "founded", "held_apart", "matches", "missed"),
)
_first_day = datetime.strptime(f"{logs_start()[:10]}+0000", "%Y-%m-%d%z")
# end_offset: the current day and week can be reported on too, as far as they are.
days = dg.DailyPartitionsDefinition(start_date=_first_day, timezone="UTC", end_offset=1)
weeks = dg.WeeklyPartitionsDefinition(
    start_date=_first_day - timedelta(days=_first_day.weekday()), timezone="UTC", day_offset=1, end_offset=1
)


def report_asset(name: str, partitions: dg.TimeWindowPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset of daily or weekly reports."""

    @dg.asset(
        key=["quality", "report", name],
        pool="batch",
        partitions_def=partitions,
        group_name="reports",
        kinds={"duckdb", "html", "s3"},
        owners=["team:operations"],
        tags={"neardup/kind": "quality"},
        metadata=code_reference(__file__),
        deps=[coverage, recall, drift, decisions_log],
        description=f"The {name} report: how it was in plain words, compared with the period before; what needs "
        "attention; trends; and new near-duplicates, uncertain decisions and chains as pictures. Hours that are not "
        "measured are named. Materialising it again replaces it, and leaves out pictures of images that are forgotten.",
    )
    def report(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        from neardup_platform.quality_report.make_report import make_report
        from neardup_platform.quality_report.period import day_of, week_of
        from neardup_platform.quality_report.s3_reports import put_report
        from neardup_platform.s3_client import open_s3

        settings, start = platform.settings(), context.partition_time_window.start
        period = day_of(start) if partitions is days else week_of(start)
        s3 = open_s3(settings.s3)
        try:
            made = make_report(settings, s3, period, datetime.now(UTC), context.log.info)
        except PermanentError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        uri = put_report(s3, settings.s3.bucket, period, made.files())
        page = f"{settings.api.url}/v1/reports/{period.kind}/{period.name}"
        return dg.MaterializeResult(metadata=metadata(made, period, uri, page))

    return report


def metadata(made: "QualityReport", period: "Period", uri: str, page: str) -> dict[str, Any]:
    """Dagster metadata, and the first plots, of a report."""
    from neardup_platform.quality_report.in_words import headline, limits_of_knowledge, paragraph
    from neardup_platform.quality_report.matplotlib_trends import PLOTS

    found = made.summary
    told = " ".join([*paragraph(found), *limits_of_knowledge(found)])
    shown: dict[str, Any] = {
        URI: uri,
        "report": dg.MetadataValue.url(page),
        "period": period.title,
        "in_words": dg.MetadataValue.md(f"**{headline(found)}** {told}"),
        "issues": dg.MetadataValue.int(len(found.issues)),
        "hours_measured": dg.MetadataValue.int(found.totals.measured),
        "hours_missing": dg.MetadataValue.int(len(found.missing)),
        "bytes": dg.MetadataValue.int(len(made.page.encode())),
    }
    for name in _COUNTS:
        shown[name] = dg.MetadataValue.int(getattr(found.totals, name))
    for plot in PLOTS:
        if plot.name in _SHOWN and found.totals.announced:
            shown[f"plot_{plot.name}"] = picture(plot.title, partial(plot.png, found))
    return shown


report_daily = report_asset("daily", days)
report_weekly = report_asset("weekly", weeks)
