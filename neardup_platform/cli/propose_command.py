"""`neardup propose`: splits and merges of clusters, as overrides to review."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option, report
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.what_if.hours import HOURS_HELP, parse_hours

_probability = click.FloatRange(0, 1, min_open=True, max_open=True)
_SHOWN = 30


@click.command(epilog="Example:  neardup propose --hours 2026-01-01..2026-02-01 --out proposals.csv")
@click.option("--clusters", multiple=True, metavar="HEAD", help="Only proposals about this cluster; repeat for more.")
@click.option("--hours", default="", help=HOURS_HELP)
@click.option("--match", type=_probability, help="Match threshold; default: that of each image's decision.")
@click.option("--head", type=_probability, help="Threshold against the head, likewise.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="CSV to write, for `neardup override csv`."
)
@json_option
def propose(
    clusters: tuple[str, ...], hours: str, match: float | None, head: float | None, out: Path | None, as_json: bool
) -> None:
    """Propose splits and merges of clusters from recorded scores, and name clusters to look at; changes nothing.

    A member that does not agree with its head leaves; clusters that hold a match become one if the head of one agrees
    with every member of the other. Review the file, delete rows, then apply it with `neardup override csv`.
    """
    from neardup_platform.operations.proposals import propose as find
    from neardup_platform.reclustering.compared_pairs import Thresholds

    asked = parse_hours(hours, datetime.now(UTC))
    emit(find(resolve(Settings()), asked, Thresholds(match, head), clusters, out, report), as_json, _describe)


def _describe(answer: Mapping[str, Any]) -> str:
    hours = f"from {answer['first_hour']} to {answer['last_hour']}"
    found = f"{answer['splits']:,} splits and {answer['merges']:,} merges, {answer['rows']:,} overrides"
    lines = [f"{answer['images']:,} images decided {hours}: {found}"]
    lines += [_proposal(each) for each in answer["proposals"][:_SHOWN]]
    if (more := answer["splits"] + answer["merges"] - _SHOWN) > 0:
        lines.append(f"and {more:,} more")
    if answer["alarms"]:
        lines += ["", "clusters to look at:", f"{'apart':>7}  {'bridged':>7}  {'joined':>7}  {'hour':>6}  cluster"]
    lines += [
        f"{each['held_apart']:>7,}  {each['bridged']:>7,}  {each['joined']:>7,}  {each['most_in_an_hour']:>6,}  "
        f"{each['head']}: {each['reasons']}"
        for each in answer["alarms"]
    ]
    done = (
        f"written to {answer['file']}: review it, then `neardup override csv`"
        if answer["file"]
        else "--out writes them"
    )
    return "\n".join([*lines, "", *answer["notes"], f"nothing was changed; {done}"])


def _proposal(each: Mapping[str, Any]) -> str:
    if each["kind"] == "merge":
        return f"merge  {each['head']} into {each['to']}: the heads score {each['score']:.3f}, {each['images']} images"
    where = "a new cluster" if each["founds"] else "the cluster"
    return f"split  {each['images']} images of {each['head']}, score {each['score']:.3f}, to {where} of {each['to']}"
