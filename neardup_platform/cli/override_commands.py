"""`neardup override` and `neardup forget`: corrections, applied by the worker."""

import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click

from neardup_platform.cli.output import api_client, complain, confirmed, emit, json_option, report
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option
from neardup_platform.counted import counted
from neardup_platform.errors import BadCommand
from neardup_platform.operations.forget_csv import read_forgets_file
from neardup_platform.operations.in_words import (
    forget_in_words,
    forgets_in_words,
    override_in_words,
    override_plan_in_words,
)
from neardup_platform.operations.override_csv import read_override_file
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import ForgetArguments, OverrideArguments, RemoveArguments
from neardup_platform.wire.command_bounds import MAX_LIST_BYTES

_reason_option = click.option("--reason", default="", help="Why, in your own words; kept with the override.")


@click.group()
def override() -> None:
    """Correct clusters: an override applies at once, and whenever its images are decided again."""


@override.command(epilog="Example:  neardup override move bridge--crop.jpg --to bridge.jpg")
@click.argument("image_id")
@click.option("--to", "other_id", help="An image of the cluster it belongs to.")
@click.option("--alone", is_flag=True, help="Have it found a cluster, which it does not leave; others may join it.")
@_reason_option
@json_option
def move(image_id: str, other_id: str | None, alone: bool, reason: str, as_json: bool) -> int:
    """Move an image to another's cluster, or to one of its own; images linked with it move along."""
    if alone == bool(other_id):
        raise click.UsageError("use either --to IMAGE or --alone")
    if other_id is None or alone:
        return _create({"action": "alone", "image_id": image_id}, reason, as_json)
    return _create({"action": "move", "image_id": image_id, "other_id": other_id}, reason, as_json)


@override.command(epilog="Example:  neardup override forbid bridge.jpg other-bridge.jpg")
@click.argument("image_id")
@click.argument("other_id")
@_reason_option
@json_option
def forbid(image_id: str, other_id: str, reason: str, as_json: bool) -> int:
    """Keep two images in different clusters; if they share one, the later of them is decided again."""
    return _create({"action": "forbid", "image_id": image_id, "other_id": other_id}, reason, as_json)


@override.command(epilog="Example:  neardup override merge bridge.jpg bridge--night.jpg")
@click.argument("head")
@click.argument("other_head")
@_reason_option
@json_option
def merge(head: str, other_head: str, reason: str, as_json: bool) -> int:
    """Make two clusters one: all images of the smaller one move, and later images that agree with either head join.

    Any image of a cluster stands for it.
    """
    return _create({"action": "merge", "image_id": head, "other_id": other_head}, reason, as_json)


@override.command(epilog="Example:  neardup override split bridge.jpg --ids towers.txt")
@click.argument("head")
@click.option(
    "--ids", type=click.File(), required=True, help="A file with one image id a line; - reads them from stdin."
)
@_reason_option
@json_option
def split(head: str, ids: TextIO, reason: str, as_json: bool) -> int:
    """Take the listed images out of a cluster, into one of their own; they never come back. At most 1,000."""
    try:
        listed = ids.read(MAX_LIST_BYTES + 1)
    except UnicodeDecodeError as error:
        raise BadCommand(f"{ids.name} cannot be read as text in UTF-8: {error}") from error
    return _create({"action": "split", "image_id": head, "image_ids": listed}, reason, as_json)


@override.command(epilog="Example:  neardup override quarantine bridge.jpg")
@click.argument("head")
@_reason_option
@json_option
def quarantine(head: str, reason: str, as_json: bool) -> int:
    """Let no new image join a cluster by its matches; overrides still move images there. Removing it ends it."""
    return _create({"action": "quarantine", "image_id": head}, reason, as_json)


@override.command("list", epilog="Example:  neardup override list --image bridge.jpg")
@click.option("--image", "image_id", help="Only those that name this image.")
@json_option
def list_(image_id: str | None, as_json: bool) -> None:
    """List the active overrides, oldest first."""
    with api_client(Settings()) as api:
        found = [asdict(override) for override in api.overrides(image_id)]
    emit({"overrides": found}, as_json, _describe_list)


@override.command("csv", epilog="Example:  neardup override csv corrections.csv --dry-run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show how many images would move, of which all are known; send nothing.")
@timeout_option
@json_option
def from_csv(file: Path, dry_run: bool, timeout_s: float, as_json: bool) -> int:
    """Send the overrides of a CSV file: the column action, and the others as it needs.

    They are image_id, other_id, image_ids (one a line, in quotes), override_id and reason.

    Nothing is sent if a row is wrong. A row that the worker refuses does not stop the others.
    """
    from neardup_platform.operations.kafka_carry_out import Issuer, correct_all
    from neardup_platform.operations.override_plan import plan_overrides

    settings, corrections = resolve(Settings()), read_override_file(file)
    if dry_run:
        emit(plan_overrides(settings, corrections).flat(), as_json, override_plan_in_words)
        return 0
    answers = correct_all(settings, corrections, Issuer(getpass.getuser()), timeout_s, report)
    emit({"dry_run": False, "answers": [each.flat() for each in answers]}, as_json, _describe_answers)
    return 0 if all(each.accepted for each in answers) else 1


@override.command(epilog="Example:  neardup override remove 5f0c2f1e")
@click.argument("override_id")
@json_option
def remove(override_id: str, as_json: bool) -> int:
    """Remove an override. Images stay where they are until something else moves them."""
    arguments = RemoveArguments(override_id=override_id)
    return send_to_worker(resolve(Settings()), arguments, as_json, override_in_words)


@click.command(epilog="Example:  neardup forget bridge.jpg --yes")
@click.argument("image_id", required=False)
@click.option(
    "--csv", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file with a column image_id."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@timeout_option
@json_option
def forget(image_id: str | None, file: Path | None, yes: bool, timeout_s: float, as_json: bool) -> int:
    """Remove an image, its vectors and its history for good; a cluster that it heads gets another head.

    With --csv, all images of the file. Nothing is sent if a row is wrong; a row that the worker refuses does not stop
    the others.
    """
    from neardup_platform.operations.kafka_carry_out import Issuer, correct_in_batches

    if (image_id is None) == (file is None):
        raise click.UsageError("use either IMAGE_ID or --csv FILE")
    forgets = [ForgetArguments(image_id=image_id)] if file is None else read_forgets_file(file)
    what = image_id or f"the {counted(len(forgets), 'image')} of {file}"
    if not (yes or as_json or confirmed(f"forget {what}? This cannot be undone")):
        complain(f"{what}: not forgotten" if file else f"{image_id} is not forgotten")
        return 1
    settings = resolve(Settings())
    if file is None:
        return send_to_worker(settings, forgets[0], as_json, forget_in_words)
    answers = [
        each.flat() for each in correct_in_batches(settings, forgets, Issuer(getpass.getuser()), timeout_s, report)
    ]
    emit({"answers": answers}, as_json, lambda found: forgets_in_words(found["answers"]))
    return 0 if all(each["accepted"] for each in answers) else 1


def _create(arguments: dict[str, str], reason: str, as_json: bool) -> int:
    given = OverrideArguments.parse({**arguments, "reason": reason})
    return send_to_worker(resolve(Settings()), given, as_json, override_in_words)


def _describe_answers(answer: dict[str, Any]) -> str:
    lines = [
        override_in_words(each) if each["accepted"] else f"refused {each['command_id']}: {each['reason']}"
        for each in answer["answers"]
    ]
    accepted = sum(each["accepted"] for each in answer["answers"])
    return "\n".join([*lines, f"{accepted} of {counted(len(lines), 'override')} accepted"])


_WORDS = {
    "move": "{0} belongs with {1}, in whichever cluster that is",
    "alone": "{0} founds a cluster and joins none; others may join it",
    "forbid": "{0} and {1} are never in one cluster",
    "merge": "the cluster of {0} is one with that of {1}",
    "split": "{0}{others} split off from {1}, never again in one cluster",
    "quarantine": "the cluster of {0} is in quarantine{bank}: no new image joins it by its matches",
}


def _describe_list(answer: dict[str, Any]) -> str:
    if not answer["overrides"]:
        return "no overrides"
    return "\n".join(_describe_override(found) for found in answer["overrides"])


def _describe_override(found: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(found["at_ms"] / 1_000, UTC)
    others = len(found["image_ids"])
    what = _WORDS[found["action"]].format(
        found["image_id"],
        found["other_id"],
        others=f" and {counted(others, 'more image')}" if others else "",
        bank=f" for bank {found['bank']}" if found["bank"] else "",
    )
    why = f": {found['reason']}" if found["reason"] else ""
    return f"{found['override_id']}  {when:%Y-%m-%d %H:%M:%SZ}  {what}, by {found['issued_by']}{why}"
