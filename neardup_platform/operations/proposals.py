"""Proposals to split and merge clusters, as an operation: from recorded decisions to a CSV of overrides.

Nothing is applied: an operator reads the proposals and gives the file, or some of its rows, to `neardup override csv`.
"""

import io
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from neardup_platform.client import Client
from neardup_platform.counted import counted
from neardup_platform.errors import BadCommand, NeardupError, SetupError
from neardup_platform.files import replace_file
from neardup_platform.operations.csv_cells import write_cells
from neardup_platform.operations.override_csv import MAX_ROWS
from neardup_platform.reclustering.clustering import MAX_COMPONENT, recluster
from neardup_platform.reclustering.compared_pairs import Thresholds, compared_pairs, fixed_images, present_heads
from neardup_platform.reclustering.duckdb_alarms import Alarm, read_alarms
from neardup_platform.reclustering.proposal import OverrideRow, Proposal, at_most, proposals_of, touching
from neardup_platform.settings import Settings
from neardup_platform.what_if.duckdb_recorded import read_recorded
from neardup_platform.what_if.httpx_pictures import fetch_pictures
from neardup_platform.what_if.s3_decisions import get_decisions

# Proposals in the answer; all of them are in the file.
MOST_LISTED = 200
# Files of earlier proposals that stay, so that a run's page names one that is still there.
MOST_KEPT = 100
# Merges whose clusters are looked up: what the records do not name may be in them.
_MOST_LOOKED_UP = 1_000

Report = Callable[[str], None]


def propose(
    settings: Settings,
    hours: Sequence[datetime],
    thresholds: Thresholds = Thresholds(),  # noqa: B008 -- frozen
    heads: Sequence[str] = (),
    out: Path | None = None,
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """Proposes splits and merges from the decisions of some hours; changes nothing.

    Args:
        settings: resolved.
        hours: starts of hours, ascending.
        thresholds: to judge by; by default those that applied to each image.
        heads: only proposals about these clusters; empty for all.
        out: CSV file to write; None writes none.
        report: called with what is being done.

    Returns:
        The answer by name.

    Raises:
        NotFound: these hours hold no decision.
        BadCommand: they hold too much, or the thresholds contradict each other.
        ServerUnavailable: S3 does not answer.
        SetupError: the file cannot be written.
    """
    _check(thresholds)
    with tempfile.TemporaryDirectory(prefix="neardup-propose-") as name:
        folder = Path(name)
        report(f"reading the decisions of {counted(len(hours), 'hour')}")
        decisions = get_decisions(settings, hours, folder)
        recorded = read_recorded(decisions.files, folder)
        alarms = read_alarms(decisions.files, folder)
    report(f"looking at {len(recorded):,} images")
    pairs = compared_pairs(recorded, thresholds)
    found = recluster(present_heads(recorded), pairs, fixed_images(recorded), len(recorded))
    proposals = proposals_of(recorded, found)
    proposals = touching(proposals, heads) if heads else proposals
    whole = _without_unnamed(settings, proposals)
    kept = at_most(whole, MAX_ROWS)
    if out is not None:
        write_rows(out, (row for each in kept for row in each.rows))
    return {
        "first_hour": f"{hours[0]:%Y-%m-%dT%H}",
        "last_hour": f"{hours[-1]:%Y-%m-%dT%H}",
        "source": decisions.source,
        "hours_missing": decisions.hours_missing,
        "images": len(recorded),
        "pairs": len(pairs.key),
        "splits": sum(each.kind == "split" for each in kept),
        "merges": sum(each.kind == "merge" for each in kept),
        "rows": sum(len(each.rows) for each in kept),
        "left_out": len(whole) - len(kept),
        "incomplete": len(proposals) - len(whole),
        "unjudged": found.unjudged,
        "largest_component": found.largest_component,
        "too_large": found.too_large,
        "proposals": [_shown(settings, each) for each in kept[:MOST_LISTED]],
        "alarms": [_alarm(settings, each) for each in alarms],
        "file": str(out) if out else None,
        "notes": _notes(found.unjudged, found.too_large, len(proposals) - len(whole)),
    }


def write_rows(file: Path, rows: Iterable[OverrideRow]) -> None:
    """Writes overrides as `neardup override csv` reads them.

    Raises:
        SetupError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    write_cells([OverrideRow._fields, *rows], text)
    try:
        replace_file(file, text.getvalue(), durable=False)
    except OSError as error:
        raise SetupError(f"{file} cannot be written ({error}): name another file with --out") from error


def kept_file(home: Path, now: datetime, name: str) -> Path:
    """A new file for proposals that are kept; of those that are there, the newest `MOST_KEPT` - 1 stay.

    Args:
        home: NEARDUP_HOME.
        name: tells files of one second apart: a run id.
    """
    folder = home / "proposals"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.csv"))[: -(MOST_KEPT - 1)]:
        old.unlink(missing_ok=True)
    return folder / f"{now:%Y-%m-%dT%H%M%S}-{name}.csv"


def pictures_of(settings: Settings, answer: dict[str, Any]) -> dict[str, str]:
    """The pictures of the proposals as data URIs, by image id; those that the API serves."""
    return fetch_pictures(settings, (image for each in answer["proposals"] for image in each["pair"]))


def _check(thresholds: Thresholds) -> None:
    match, head = thresholds.match, thresholds.head
    if match is not None and head is not None and head > match:
        raise BadCommand(f"the head threshold {head:.3f} is above the match threshold {match:.3f}: give a lower one")


def _without_unnamed(settings: Settings, proposals: list[Proposal]) -> list[Proposal]:
    """Leaves out merges of clusters with members that the records do not name; keeps all if the API does not answer."""
    larger = set()
    merges = [each for each in proposals if each.kind == "merge"]
    with suppress(NeardupError), Client.from_settings(settings, attempts=1) as api:
        for each in merges[:_MOST_LOOKED_UP]:
            if api.cluster(each.head).size != len(each.images):
                larger.add(each.head)
    return [each for each in proposals if each.kind == "split" or each.head not in larger]


def _shown(settings: Settings, proposal: Proposal) -> dict[str, Any]:
    shown = proposal.to if proposal.founds or proposal.kind == "merge" else proposal.images[0]
    pages = {"head_page": settings.api.cluster_page(proposal.head), "to_page": settings.api.cluster_page(proposal.to)}
    if proposal.founds:
        pages["to_page"] = settings.api.image_page(proposal.to)
    return {**proposal.flat(), "pair": [proposal.head, shown], **pages}


def _alarm(settings: Settings, alarm: Alarm) -> dict[str, Any]:
    return {**asdict(alarm), "reasons": alarm.reasons, "page": settings.api.cluster_page(alarm.head)}


def _notes(unjudged: int, too_large: int, incomplete: int) -> list[str]:
    notes = [
        "Only images and pairs that the decisions of these hours name are seen; choose hours as far back as needed."
    ]
    if unjudged:
        notes.append(f"{unjudged:,} members were never compared with their present head: they stay.")
    if incomplete:
        notes.append(f"{incomplete:,} merges are left out: their clusters have members that these hours do not name.")
    if too_large:
        notes.append(
            f"{too_large:,} images hang together in groups of more than {MAX_COMPONENT:,}: nothing is proposed; "
            "raise the thresholds, or look at the clusters listed."
        )
    return notes
