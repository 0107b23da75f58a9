"""The report as one HTML file, with plots and pictures embedded; everything is escaped, and nothing is fetched."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment

from neardup_platform.evaluation.jinja_reports import report_environment
from neardup_platform.evaluation.report_plots import data_uri
from neardup_platform.quality_report import in_words
from neardup_platform.quality_report.examples import MOST_IN_CLUSTER, Examples
from neardup_platform.quality_report.matplotlib_trends import PLOTS
from neardup_platform.quality_report.summary import Summary, Totals
from neardup_platform.settings import Settings
from neardup_platform.terminal_text import visible

# Ids have at most 512 bytes; a page shows enough to find one.
_MOST_ID = 80
_MOST_TEXT = 2_000


def render(
    settings: Settings, found: Summary, examples: Examples, pictures: Mapping[str, bytes], sampled_hours: int
) -> str:
    """The page.

    Args:
        settings: resolved; links lead to the explorer.
        pictures: JPEGs by image id.
        sampled_hours: whose decisions the examples are from.
    """
    plots = [_plot(plot, found) for plot in PLOTS if _shown(plot.name, found)]
    return (
        _environment()
        .get_template("quality_report.html.jinja")
        .render(
            f=found,
            headline=in_words.headline(found),
            sentences=in_words.paragraph(found),
            left_out=in_words.limits_of_knowledge(found),
            tiles=_tiles(found),
            issues=[
                {
                    "title": in_words.issue_title(issue.name),
                    "severe": issue.severe,
                    "hours": in_words.hours_in_words(issue.hours, with_day=found.period.kind == "week"),
                    "parts": _sentence(issue.text).split("`"),
                }
                for issue in found.issues
            ],
            plots=plots,
            examples=examples,
            in_cluster=MOST_IN_CLUSTER,
            pictures={image: data_uri(content, "jpeg") for image, content in pictures.items()},
            sampled_hours=sampled_hours,
            api=settings.api,
            dagster=settings.dagster.url,
        )
    )


def _sentence(text: str) -> str:
    shown = visible(text)[:_MOST_TEXT]
    return f"{shown[:1].upper()}{shown[1:]}{'' if shown.endswith('.') else '.'}"


def _shown(name: str, found: Summary) -> bool:
    if name == "days":
        return len(found.days) > 1
    if name == "drift":
        return any(
            each is not None
            for hour in found.hours
            if hour.drift
            for each in (hour.drift.score_psi, hour.drift.vector_shift, hour.drift.crowd)
        )
    if name == "recall":
        return found.totals.found_share is not None or found.totals.agreement is not None
    return found.totals.announced > 0 or found.totals.decisions > 0


def _plot(plot: Any, found: Summary) -> dict[str, str]:
    themes = {name: data_uri(plot.png(found, dark=name == "dark"), "png") for name in ("light", "dark")}
    return {"name": plot.name, "title": plot.title, "text": plot.text, **themes}


def _tiles(found: Summary) -> list[dict[str, str]]:
    """The numbers of the period, each with that of the period before and what it means."""
    before = found.before if found.compared else None

    def tile(name: str, read: Any, meaning: str) -> dict[str, str]:
        earlier = f"before: {read(before)}" if before else ""
        return {"name": name, "value": read(found.totals), "before": earlier, "meaning": meaning}

    return [
        tile("images arrived", lambda t: f"{t.announced:,}", "with one embedding or both"),
        tile("decided", lambda t: _share(t.decided_share), "of the images that arrived"),
        tile("near-duplicates", lambda t: _share(t.joined_share), "of those decided; they joined a cluster"),
        tile("new clusters", lambda t: f"{t.founded:,}", "founded by an image that matched nothing"),
        tile("typical wait", lambda t: _duration(t.p99_ms), "99 of 100 images were decided within it"),
        tile("slowest hour", lambda t: _duration(t.slowest_ms), "the same, in the slowest hour"),
        tile("lost", lambda t: f"{t.lost + t.unverified:,}", "announced, and neither decided nor refused"),
        tile("refused", lambda t: f"{t.refused:,}", "dead letters: a message was invalid"),
        tile("without a partner", lambda t: f"{t.unpaired:,}", "the other embedding did not come in time"),
        tile("matches found", lambda t: _share(t.found_share), "of sampled near-duplicates of the same hour"),
        tile("repeatable", lambda t: _share(t.agreement), "of sampled images, decided the same now"),
        tile("held apart", lambda t: f"{t.held_apart:,}", "kept out of a cluster that few of its members vouched for"),
    ]


def _share(share: float | None) -> str:
    return "–" if share is None else in_words.percent(share)


def _duration(ms: float | None) -> str:
    return "–" if ms is None else in_words.duration(ms)


def _state(totals: Totals) -> str:
    return f"{totals.measured} of {totals.hours}" if totals.measured < totals.hours else "all"


def _shortened(image_id: str) -> str:
    text = visible(image_id)
    return text if len(text) <= _MOST_ID else f"{text[: _MOST_ID - 1]}…"


def _environment() -> Environment:
    environment = report_environment("neardup_platform.quality_report")
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["percent"] = _share
    environment.filters["duration"] = _duration
    environment.filters["measured"] = _state
    environment.filters["id"] = _shortened
    return environment
