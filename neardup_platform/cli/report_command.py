"""`neardup report`: how a day or a week was, as a page for people."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option, report
from neardup_platform.errors import SetupError
from neardup_platform.files import replace_file
from neardup_platform.s3_client import open_s3
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings


@click.command("report", epilog="Example:  neardup report --week 2026-W48 --out week.html")
@click.option("--day", metavar="DAY", help="As 2026-11-26, UTC; the present day as far as it is. Default: yesterday.")
@click.option("--week", metavar="WEEK", help="As 2026-W48, from Monday, UTC.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, .html.  [default: quality-report-DAY.html]",
)
@json_option
def quality_report(day: str | None, week: str | None, out: Path | None, as_json: bool) -> None:
    """Report how a day or a week was: in plain words, with trends, what needs attention, and examples as pictures.

    Reads what `quality/coverage` and `quality/drift` measured hour by hour, and is the same page as that of the assets
    `quality/report/daily` and `quality/report/weekly`. Pictures need a running API.
    """
    from neardup_platform.quality_report.in_words import headline, limits_of_knowledge, paragraph
    from neardup_platform.quality_report.make_report import make_report
    from neardup_platform.quality_report.period import parse_period

    settings, now = resolve(Settings()), datetime.now(UTC)
    period = parse_period(day, week, now)
    made = make_report(settings, open_s3(settings.s3), period, now, report)
    file, found = out or Path(f"quality-report-{period.name}.html"), made.summary
    try:
        replace_file(file, made.page, durable=False)
    except OSError as error:
        raise SetupError(f"{file} cannot be written ({error}): name another file with --out") from error
    answer = {
        "period": period.name,
        "title": period.title,
        "state": found.state,
        "in_words": [headline(found), *paragraph(found), *limits_of_knowledge(found)],
        "issues": [{"name": each.name, "severe": each.severe, "hours": len(each.hours)} for each in found.issues],
        "hours_measured": found.totals.measured,
        "hours_missing": len(found.missing),
        "file": str(file),
    }
    emit(answer, as_json, _describe)


def _describe(answer: dict[str, Any]) -> str:
    return "\n".join([answer["title"], *answer["in_words"], "", f"written to {answer['file']}"])
