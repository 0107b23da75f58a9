"""`neardup bank`: labels for clusters of images, kept in named banks; applied by the worker."""

import getpass
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from neardup_platform.cli.output import api_client, emit, json_option, report
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option
from neardup_platform.operations.in_words import (
    label_in_words,
    label_plan_in_words,
    labels_in_words,
    unlabel_in_words,
)
from neardup_platform.operations.label_csv import LABELS, write_labels
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import LabelArguments, UnlabelArguments


@click.group()
def bank() -> None:
    """Label clusters: every image of the cluster is listed, and every image that joins it carries the label."""


@bank.command(epilog="Example:  neardup bank add hate-2026 bridge.jpg --policy hate --action block")
@click.argument("bank")
@click.argument("image_id")
@click.option("--policy", required=True, help="The name of the policy, at most 64 characters.")
@click.option("--action", required=True, help="What consumers do, such as block or review.")
@click.option("--reason", default="", help="Why, in your own words; kept with the label.")
@json_option
def add(bank: str, image_id: str, policy: str, action: str, reason: str, as_json: bool) -> int:
    """Put an image into a bank, and list the images that are in its cluster now, at most 100."""
    given = {"bank": bank, "image_id": image_id, "policy": policy, "action": action, "reason": reason}
    return send_to_worker(resolve(Settings()), LabelArguments.parse(given), as_json, label_in_words)


@bank.command(epilog="Example:  neardup bank remove hate-2026 bridge.jpg")
@click.argument("bank")
@click.argument("image_id")
@json_option
def remove(bank: str, image_id: str, as_json: bool) -> int:
    """Take an image out of a bank. Decisions made before keep the label."""
    given = UnlabelArguments.parse({"bank": bank, "image_id": image_id})
    return send_to_worker(resolve(Settings()), given, as_json, unlabel_in_words)


@bank.command("list", epilog="Example:  neardup bank list hate-2026")
@click.argument("bank", required=False)
@json_option
def list_(bank: str | None, as_json: bool) -> None:
    """List the labels of a bank, in order of image id; without a bank, all banks."""
    with api_client(Settings()) as api:
        if bank is None:
            emit({"banks": [asdict(each) for each in api.banks()]}, as_json, _describe_banks)
        else:
            emit({"bank": bank, "labels": [asdict(each) for each in api.bank(bank)]}, as_json, _describe_bank)


@bank.command(epilog="Example:  neardup bank export hate-2026 > hate-2026.csv")
@click.argument("banks", nargs=-1)
@json_option
def export(banks: tuple[str, ...], as_json: bool) -> None:
    """Write the labels of banks as CSV to stdout; without a bank, those of all."""
    with api_client(Settings()) as api:
        names = banks or tuple(each.bank for each in api.banks())
        labels = [label for name in names for label in api.bank(name)]
    if as_json:
        emit({"labels": [asdict(label) for label in labels]}, as_json, str)
    else:
        write_labels(labels, sys.stdout)


@bank.command("import", epilog="Example:  neardup bank import hate-2026.csv --dry-run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Check all rows, and that all images are known; send nothing.")
@timeout_option
@json_option
def import_(file: Path, dry_run: bool, timeout_s: float, as_json: bool) -> int:
    """Add the labels of a CSV file: the columns bank, image_id, policy, action, and reason if you like.

    Nothing is sent if a row is wrong. A row that the worker refuses does not stop the others. Labels that are there
    already stay, so a file can be imported again. At most 100,000 rows.
    """
    from neardup_platform.operations.kafka_carry_out import Issuer, label_all
    from neardup_platform.operations.label_plan import plan_labels

    settings, labels = resolve(Settings()), LABELS.read_file(file)
    if dry_run:
        emit(plan_labels(settings, labels), as_json, label_plan_in_words)
        return 0
    answers = [each.flat() for each in label_all(settings, labels, Issuer(getpass.getuser()), timeout_s, report)]
    emit({"dry_run": False, "answers": answers}, as_json, lambda answer: labels_in_words(answer["answers"]))
    return 0 if all(each["accepted"] for each in answers) else 1


def _describe_banks(answer: dict[str, Any]) -> str:
    return "\n".join(f"{each['labels']:>9}  {each['bank']}" for each in answer["banks"]) or "no labels"


def _describe_bank(answer: dict[str, Any]) -> str:
    return "\n".join(map(_describe_label, answer["labels"])) or f"no labels in bank {answer['bank']}"


def _describe_label(found: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(found["at_ms"] / 1_000, UTC)
    why = f": {found['reason']}" if found["reason"] else ""
    what = f"{found['image_id']}  {found['policy']}, {found['action']}"
    return f"{what}  {when:%Y-%m-%d %H:%M:%SZ} by {found['issued_by']}{why}"
