"""`neardup override` and `neardup forget`: corrections, applied by the worker."""

import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import api_client, complain, confirmed, emit, json_option, report
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option
from neardup_platform.operations.in_words import forget_in_words, override_in_words
from neardup_platform.operations.override_csv import read_override_file
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import ForgetArguments, OverrideArguments, RemoveArguments

_reason_option = click.option("--reason", default="", help="Why, in your own words; kept with the override.")


@click.group()
def override() -> None:
    """Correct clusters: an override applies at once, and whenever its images are decided again."""


@override.command(epilog="Example:  neardup override move bridge--crop.jpg --to bridge.jpg")
@click.argument("image_id")
@click.option("--to", "other_id", help="An image of the cluster it belongs to.")
@click.option("--alone", is_flag=True, help="Give it a cluster of its own, which it does not leave.")
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
@click.option("--dry-run", is_flag=True, help="Check the file and that its images are known; send nothing.")
@timeout_option
@json_option
def from_csv(file: Path, dry_run: bool, timeout_s: float, as_json: bool) -> int:
    """Send the overrides of a CSV file: the column action, and image_id, other_id, override_id, reason as it needs.

    Nothing is sent if a row is wrong. A row that the worker refuses does not stop the others.
    """
    from neardup_platform.operations.kafka_carry_out import Issuer, correct_all
    from neardup_platform.operations.plans import heads_of, images_named

    settings, corrections = resolve(Settings()), read_override_file(file)
    if dry_run:
        known = heads_of(settings, images_named(corrections))
        answer = {"dry_run": True, "overrides": len(corrections), "images": known}
        emit(answer, as_json, lambda a: f"{a['overrides']} overrides of {len(a['images'])} known images would be sent")
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
@click.argument("image_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def forget(image_id: str, yes: bool, as_json: bool) -> int:
    """Remove an image, its vectors and its history for good; a cluster that it heads gets another head."""
    if not (yes or as_json or confirmed(f"forget {image_id}? This cannot be undone")):
        complain(f"{image_id} is not forgotten")
        return 1
    return send_to_worker(resolve(Settings()), ForgetArguments(image_id=image_id), as_json, forget_in_words)


def _create(arguments: dict[str, str], reason: str, as_json: bool) -> int:
    given = OverrideArguments.parse({**arguments, "reason": reason})
    return send_to_worker(resolve(Settings()), given, as_json, override_in_words)


def _describe_answers(answer: dict[str, Any]) -> str:
    lines = [
        override_in_words(each) if each["accepted"] else f"refused {each['command_id']}: {each['reason']}"
        for each in answer["answers"]
    ]
    accepted = sum(each["accepted"] for each in answer["answers"])
    return "\n".join([*lines, f"{accepted} of {len(lines)} overrides accepted"])


_WORDS = {"move": "{0} belongs with {1}", "alone": "{0} stays alone", "forbid": "{0} is kept apart from {1}"}


def _describe_list(answer: dict[str, Any]) -> str:
    if not answer["overrides"]:
        return "no overrides"
    return "\n".join(_describe_override(found) for found in answer["overrides"])


def _describe_override(found: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(found["at_ms"] / 1_000, UTC)
    what = _WORDS[found["action"]].format(found["image_id"], found["other_id"])
    why = f": {found['reason']}" if found["reason"] else ""
    return f"{found['override_id']}  {when:%Y-%m-%d %H:%M:%SZ}  {what}, by {found['issued_by']}{why}"
