"""`neardup bank`: labels for clusters of images, and PDQ hashes that label, kept in named banks.

The worker applies them.
"""

import getpass
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click

from neardup_platform.cli.output import api_client, emit, json_option, report
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option
from neardup_platform.errors import BadCommand
from neardup_platform.operations.hash_csv import HashFile, HashTerms, lists_images, read_hashes, read_text, write_hashes
from neardup_platform.operations.in_words import (
    all_hashes_in_words,
    hashes_in_words,
    hashes_removed_in_words,
    label_in_words,
    label_plan_in_words,
    labels_in_words,
    unlabel_in_words,
)
from neardup_platform.operations.label_csv import LABELS, write_labels
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import (
    LabelArguments,
    LabelHashesArguments,
    UnlabelArguments,
    UnlabelHashesArguments,
)


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


@bank.command("add-hash", epilog="Example:  neardup bank add-hash known f8f8f0ce… --policy hate --action block")
@click.argument("bank")
@click.argument("hashes", nargs=-1, required=True)
@click.option("--policy", required=True, help="The name of the policy, at most 64 characters.")
@click.option("--action", required=True, help="What consumers do, such as block or review.")
@click.option("--reason", default="", help="Why, in your own words; kept with the hashes.")
@timeout_option
@json_option
def add_hash(
    bank: str, hashes: tuple[str, ...], policy: str, action: str, reason: str, timeout_s: float, as_json: bool
) -> int:
    """Put PDQ hashes into a bank, and list the stored images within 31 bits of one, at most 100.

    Those images are labelled, and new ones when they are decided.
    """
    given = {"bank": bank, "hashes": "\n".join(hashes), "policy": policy, "action": action, "reason": reason}
    arguments = LabelHashesArguments.parse(given)
    return send_to_worker(resolve(Settings()), arguments, as_json, hashes_in_words, timeout_s)


@bank.command("remove-hash", epilog="Example:  neardup bank remove-hash known f8f8f0ce…")
@click.argument("bank")
@click.argument("hashes", nargs=-1, required=True)
@timeout_option
@json_option
def remove_hash(bank: str, hashes: tuple[str, ...], timeout_s: float, as_json: bool) -> int:
    """Take PDQ hashes out of a bank, with the labels that they gave. Decisions made before keep them."""
    arguments = UnlabelHashesArguments.parse({"bank": bank, "hashes": "\n".join(hashes)})
    return send_to_worker(resolve(Settings()), arguments, as_json, hashes_removed_in_words, timeout_s)


@bank.command("list", epilog="Example:  neardup bank list hate-2026")
@click.argument("bank", required=False)
@json_option
def list_(bank: str | None, as_json: bool) -> None:
    """List the labels of a bank, in order of image id; without a bank, all banks, with numbers of labels and hashes."""
    with api_client(Settings()) as api:
        if bank is None:
            emit({"banks": [asdict(each) for each in api.banks()]}, as_json, _describe_banks)
        else:
            emit({"bank": bank, "labels": [asdict(each) for each in api.bank(bank)]}, as_json, _describe_bank)


@bank.command(epilog="Example:  neardup bank export hate-2026 > hate-2026.csv")
@click.argument("banks", nargs=-1)
@click.option("--hashes", "of_hashes", is_flag=True, help="Write their PDQ hashes instead of the labels of images.")
@json_option
def export(banks: tuple[str, ...], of_hashes: bool, as_json: bool) -> None:
    """Write the labels of banks as CSV to stdout; without a bank, those of all."""
    with api_client(Settings()) as api:
        names = banks or tuple(each.bank for each in api.banks())
        if of_hashes:
            hashes = (each for name in names for each in api.hashes(name))
            _write("hashes", hashes, write_hashes, as_json)
        else:
            labels = (label for name in names for label in api.bank(name))
            _write("labels", labels, write_labels, as_json)


def _write(name: str, found: Iterator[Any], write: Callable[[Iterator[Any], TextIO], None], as_json: bool) -> None:
    if as_json:
        emit({name: [asdict(each) for each in found]}, as_json, str)
    else:
        write(found, sys.stdout)


@bank.command("import", epilog="Example:  neardup bank import hate-2026.csv --dry-run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--bank", "into", default="", help="Of PDQ hashes in a file without the column.")
@click.option("--policy", default="", help="The same.")
@click.option("--action", default="", help="The same.")
@click.option("--reason", default="", help="The same.")
@click.option("--dry-run", is_flag=True, help="Check all rows, and that all images are known; send nothing.")
@timeout_option
@json_option
def import_(
    file: Path,
    into: str,
    policy: str,
    action: str,
    reason: str,
    dry_run: bool,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Add the labels of a CSV file: the columns bank, image_id, policy, action, and reason if you like.

    A file without image_id has PDQ hashes: a column pdq, hash, signal_str or indicator, as ThreatExchange and HMA
    write, or no header and the hash first. Rows of another type of signal and of a quality below 50 are left out.

    Nothing is sent if a row is wrong. A row that the worker refuses does not stop the others. What is there already
    stays, so a file can be imported again. At most 100,000 labels or 250,000 hashes.
    """
    text, terms = read_text(file), HashTerms(into, policy, action, reason)
    if lists_images(text):
        if any(asdict(terms).values()):
            raise BadCommand(f"{file} lists images, so bank, policy, action and reason are columns, not options")
        return _import_labels(LABELS.read(text, str(file)), dry_run, timeout_s, as_json)
    return _import_hashes(read_hashes(text, str(file), terms), dry_run, timeout_s, as_json)


def _import_hashes(found: HashFile, dry_run: bool, timeout_s: float, as_json: bool) -> int:
    from neardup_platform.operations.kafka_carry_out import Issuer, correct_in_batches

    settings, answers = resolve(Settings()), list[dict[str, Any]]()
    if not dry_run:
        issuer = Issuer(getpass.getuser())
        answers = [each.flat() for each in correct_in_batches(settings, found.commands, issuer, timeout_s, report)]
    emit({**found.planned(), "dry_run": dry_run, "answers": answers}, as_json, all_hashes_in_words)
    return 0 if all(each["accepted"] for each in answers) else 1


def _import_labels(labels: Sequence[LabelArguments], dry_run: bool, timeout_s: float, as_json: bool) -> int:
    from neardup_platform.operations.kafka_carry_out import Issuer, correct_in_batches
    from neardup_platform.operations.label_plan import plan_labels

    settings = resolve(Settings())
    if dry_run:
        emit(plan_labels(settings, labels), as_json, label_plan_in_words)
        return 0
    answers = [
        each.flat() for each in correct_in_batches(settings, labels, Issuer(getpass.getuser()), timeout_s, report)
    ]
    emit({"dry_run": False, "answers": answers}, as_json, lambda answer: labels_in_words(answer["answers"]))
    return 0 if all(each["accepted"] for each in answers) else 1


def _describe_banks(answer: dict[str, Any]) -> str:
    lines = (f"{each['labels']:>9} {each['hashes']:>9}  {each['bank']}" for each in answer["banks"])
    return "\n".join(["   labels    hashes  bank", *lines]) if answer["banks"] else "no labels"


def _describe_bank(answer: dict[str, Any]) -> str:
    return "\n".join(map(_describe_label, answer["labels"])) or f"no labels in bank {answer['bank']}"


def _describe_label(found: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(found["at_ms"] / 1_000, UTC)
    why = f": {found['reason']}" if found["reason"] else ""
    by_hash = f", {found['distance']} bits from {found['pdq']}" if found["pdq"] else ""
    what = f"{found['image_id']}  {found['policy']}, {found['action']}{by_hash}"
    return f"{what}  {when:%Y-%m-%d %H:%M:%SZ} by {found['issued_by']}{why}"
