"""The report of a what-if as a single HTML file, with plots and pictures embedded; everything is escaped."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment

from neardup_platform.errors import SetupError
from neardup_platform.evaluation.jinja_reports import report_environment
from neardup_platform.evaluation.report_plots import data_uri
from neardup_platform.settings import Settings
from neardup_platform.what_if.in_words import tried_in_words
from neardup_platform.what_if.matplotlib_thresholds import draw_changes, draw_labels

_VERBS = {"joined": "would join", "founded": "would found its own", "moved": "would go to another"}


def write_report(settings: Settings, answer: Mapping[str, Any], pictures: Mapping[str, str], file: Path) -> None:
    """Writes the report.

    Args:
        settings: resolved; links lead to the explorer.
        answer: as `WhatIf.flat` returns it.
        pictures: data URIs by image id.
        file: to write.

    Raises:
        SetupError: the file cannot be written.
    """
    plots = [_plot("Images that would be elsewhere", draw_changes, answer)]
    if answer["labelled_pairs"]:
        plots.append(_plot("Precision and recall of labelled pairs", draw_labels, answer))
    template = _environment().get_template("what_if.html.jinja")
    page = template.render(
        f=answer, tried=tried_in_words(answer), plots=plots, pictures=pictures, api=settings.api, verbs=_VERBS
    )
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{file} cannot be written ({error}): name another file with --out") from error


def _plot(title: str, draw: Callable[..., bytes], answer: Mapping[str, Any]) -> dict[str, str]:
    rows, tried = answer["by_threshold"], answer["match"]
    drawn = {name: data_uri(draw(rows, tried=tried, dark=name == "dark"), "png") for name in ("light", "dark")}
    return {"title": title, **drawn}


def _environment() -> Environment:
    environment = report_environment("neardup_platform.what_if")
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment
