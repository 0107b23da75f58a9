"""The questions that consumers ask: which cluster, who else, seen before, and why. They go through the HTTP API."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.moments import Moment
from neardup_platform.cli.output import api_client, emit, json_option
from neardup_platform.cli.overlap_in_words import relation_in_words
from neardup_platform.counted import counted
from neardup_platform.records import QUARANTINED
from neardup_platform.settings import Settings


@click.command(epilog="Example:  neardup lookup bridge.jpg --at 2h")
@click.argument("image_id")
@click.option("--at", "at_ms", type=Moment(), help="As it was at a time, such as 2026-01-31T12:00, or 2h ago: 2h.")
@click.option("--bank", "banks", multiple=True, help="Only labels of this bank; may be repeated.")
@json_option
def lookup(image_id: str, at_ms: int | None, banks: tuple[str, ...], as_json: bool) -> None:
    """Show which cluster an image is in, or was in at a time: its head and its labels."""
    with api_client(Settings()) as api:
        emit(asdict(api.lookup(image_id, at_ms, banks=banks or None)), as_json, _describe_image)


@click.command(epilog="Example:  neardup members bridge.jpg --limit 20")
@click.argument("head")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="Members per page.")
@click.option("--cursor", help="`next_cursor` of the previous page.")
@json_option
def members(head: str, limit: int, cursor: str | None, as_json: bool) -> None:
    """List the members of a cluster, oldest first."""
    with api_client(Settings()) as api:
        emit(asdict(api.members_page(head, limit, cursor)), as_json, _describe_members)


@click.command(epilog="Example:  neardup search suspicious.jpg")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def search(file: Path, as_json: bool) -> None:
    """Show whether a picture has been seen before; changes nothing."""
    with api_client(Settings()) as api:
        emit(asdict(api.search(file)), as_json, _describe_search)


@click.command(epilog="Example:  neardup explain bridge--crop.jpg")
@click.argument("image_id")
@json_option
def explain(image_id: str, as_json: bool) -> None:
    """Show why an image is in its cluster: candidates, scores, thresholds, versions."""
    with api_client(Settings()) as api:
        emit(asdict(api.explain(image_id)), as_json, _describe_decision)


@click.command(epilog="Example:  neardup history bridge.jpg")
@click.argument("image_id")
@json_option
def history(image_id: str, as_json: bool) -> None:
    """Show what happened to an image and when, oldest first."""
    with api_client(Settings()) as api:
        decisions = [asdict(decision) for decision in api.history(image_id)]
    answer = {"image_id": image_id, "decisions": decisions}
    emit(answer, as_json, lambda a: "\n\n".join(_describe_decision(d) for d in a["decisions"]))


def _describe_image(answer: dict[str, Any]) -> str:
    if answer["head"] == answer["image_id"]:
        where = f"{answer['image_id']} heads its own cluster"
    else:
        score = f"pair score {answer['score']:.3f}{_kind(answer)}"
        where = f"{answer['image_id']} is in the cluster of {answer['head']} ({score})"
    return "\n".join([where, *_label_lines(answer)])


def _label_lines(answer: dict[str, Any], name: str = "labels", when: str = "") -> list[str]:
    return [
        f"  {when}bank {label['bank']}: policy {label['policy']}, action {label['action']}, by {label['image_id']}"
        for label in answer[name]
    ]


def _describe_members(answer: dict[str, Any]) -> str:
    redirected = f" (redirected from {answer['redirected_from']})" if answer["redirected_from"] else ""
    lines = [f"{answer['head']}: {counted(answer['size'], 'member')}{redirected}"]
    lines += [f"  {m['image_id']}  {m['score']:.3f}{_kind(m)}" for m in answer["members"]]
    if answer["next_cursor"]:
        lines.append(f"  more: --cursor {answer['next_cursor']}")
    return "\n".join(lines)


def _describe_search(answer: dict[str, Any]) -> str:
    if not answer["seen_before"]:
        seen = "not seen before"
    elif answer["cluster"] is not None:
        seen = f"seen before, in the cluster of {answer['cluster']}"
    else:
        seen = f"seen before: like {counted(len(answer['matches']), 'image')}, but {_held_apart(answer['guard'])}"
    lines = [f"{seen} ({counted(answer['images_searched'], 'image')} searched)", *_label_lines(answer)]
    if answer.get("undistinctive"):
        lines.append("  an undistinctive picture, plain or like many others: a match needs a higher score than usual")
    return "\n".join([*lines, *_candidate_lines(answer["matches"])])


def _held_apart(guard: dict[str, Any] | None) -> str:
    """Why a picture that matches joins no cluster."""
    if guard is None:
        return "unlike the head of any cluster"
    if guard["reason"] == QUARANTINED:
        return f"the cluster of {guard['head']} is in quarantine"
    return (
        f"like only {guard['agreed']} of the {guard['compared']} compared in the cluster of {guard['head']}, which "
        "would grow like a chain"
    )


def _describe_decision(answer: dict[str, Any]) -> str:
    thresholds = f"threshold {answer['threshold']:.3f}, against the head {answer['head_threshold']:.3f}"
    if answer.get("undistinctive"):
        thresholds += " (undistinctive)"
    found = counted(answer["candidates_found"], "candidate")
    when = f"{datetime.fromtimestamp(answer['decided_ms'] / 1_000, UTC):%Y-%m-%d %H:%M:%SZ}"
    versions = f"terms {answer['terms_version']}, classifier {answer['classifier_version']}"
    lines = [
        answer["summary"],
        f"  decision {answer['sequence']} at {when}, {found}; {thresholds}; {versions}",
        *_candidate_lines(answer["candidates"]),
        *_label_lines(answer, when="when it was put there: "),
        *_label_lines(answer, "cluster_labels", "its cluster now: "),
    ]
    if answer["quarantined"]:
        lines.append("  its cluster is in quarantine: no new image joins it by its matches")
    lines += [
        f"  {'match' if pair['match'] else 'head'}: {relation_in_words(pair['structure'], 'it', pair['image_id'])}"
        for pair in answer["structures"]
    ]
    if answer["bridges"]:
        lines.append(f"  also matched, not joined: {', '.join(answer['bridges'])}")
    return "\n".join(lines)


def _candidate_lines(candidates: list[dict[str, Any]]) -> list[str]:
    return [
        f"  {c['score']:.3f}  {c['overlap']:>3} equal terms  {c['image_id']}  (cluster {c['head']}{_kind(c)})"
        for c in candidates
    ]


def _kind(answer: dict[str, Any]) -> str:
    return f", {answer['kind']}" if answer["kind"] else ""
