"""`neardup what-if`: what other thresholds or another classifier would have decided."""

from datetime import UTC, datetime
from pathlib import Path

import click

from neardup_platform.cli.output import emit, json_option, report
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.what_if.hours import HOURS_HELP, parse_hours
from neardup_platform.what_if.in_words import what_if_in_words
from neardup_platform.what_if.question import DEFAULT_PAIRS, MAX_PAIRS, Question

_probability = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command("what-if", epilog="Example:  neardup what-if --match 0.9 --head 0.5 --out report.html")
@click.option("--match", type=_probability, help="Match threshold, the same for every image.")
@click.option("--head", type=_probability, help="Threshold against the head, likewise.")
@click.option("--classifier", default="", help="Version of a classifier to score the recorded candidates with.")
@click.option("--hours", default="", help=HOURS_HELP)
@click.option(
    "--most-pairs",
    type=click.IntRange(1, MAX_PAIRS),
    default=DEFAULT_PAIRS,
    show_default=True,
    help="With --classifier: candidates to score, those of the newest images first.",
)
@click.option("--terms", default="", help="Refused with the reason: records cannot tell what other terms would find.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Report with pictures to write, .html.")
@json_option
def what_if(
    match: float | None,
    head: float | None,
    classifier: str,
    hours: str,
    most_pairs: int,
    terms: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Show what a threshold or a classifier would have decided on past traffic; changes nothing.

    Reads the decisions log of the hours, or the store of this machine if they are not in the log. A threshold uses the
    recorded scores; a classifier scores the recorded candidates again and needs the store.
    """
    from neardup_platform.operations.what_if import answer_what_if

    now = datetime.now(UTC)
    question = Question(parse_hours(hours, now), match, head, classifier, terms, most_pairs)
    answer = answer_what_if(resolve(Settings()), question, now, report, out)
    emit(answer, as_json, what_if_in_words)
