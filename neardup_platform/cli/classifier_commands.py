"""`neardup classifier`: publish classifiers, list them, and change the active one."""

from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neardup_platform.cli.output import api_client, emit, json_option, report
from neardup_platform.cli.worker_commands import send_to_worker
from neardup_platform.errors import BadArtefact, NeardupError
from neardup_platform.operations.in_words import promotion_in_words
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import LoadModelArguments

if TYPE_CHECKING:
    from neardup_platform.learning.classifier.s3_registry import Published

_wait_option = click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the worker's answer.")
_timeout_option = click.option(
    "--timeout", "timeout_s", type=float, default=120.0, show_default=True, help="Seconds to wait with --wait."
)


@click.group()
def classifier() -> None:
    """Publish pair classifiers, list them, and change the active one while the stream runs."""


@classifier.command(epilog="Example:  neardup classifier publish trained/")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def publish(folder: Path, as_json: bool) -> None:
    """Put a classifier made by `neardup train` into the registry on S3. A published version never changes."""
    emit(publish_folder(folder, resolve(Settings())), as_json, _describe_published)


@classifier.command("list", epilog="Example:  neardup classifier list --json")
@json_option
def list_(as_json: bool) -> None:
    """List the registry, newest first, with the metrics of each classifier, and show the active one."""
    from neardup_platform.learning.classifier.active_version import active_version
    from neardup_platform.learning.classifier.s3_registry import list_published
    from neardup_platform.s3_client import open_s3

    settings = resolve(Settings())
    active = active_version(settings)
    listed = list_published(open_s3(settings.s3), settings.s3.bucket)
    answer = {
        "in_force": active,
        "classifiers": [_entry(entry, active) for entry in listed],
        "promotions": _promotions(settings),
    }
    emit(answer, as_json, _describe_list)


@classifier.command(epilog="Example:  neardup classifier promote 0123456789ab")
@click.argument("version")
@click.option("--force", is_flag=True, help="Promote it even if its metrics are worse than those of the active one.")
@_wait_option
@_timeout_option
@json_option
def promote(version: str, force: bool, wait: bool, timeout_s: float, as_json: bool) -> int:
    """Make another classifier active; exit status 1, with the reason, if the worker refuses.

    The newest `neardup what-if` of it, if there is one, is printed on stderr.
    """
    return _promote(resolve(Settings()), version, force, timeout_s if wait else None, as_json)


@classifier.command(epilog="Example:  neardup classifier rollback")
@_wait_option
@_timeout_option
@json_option
def rollback(wait: bool, timeout_s: float, as_json: bool) -> int:
    """Return to the classifier that the last promotion replaced, whatever its metrics."""
    from neardup_platform.operations.plans import last_promotion

    settings = resolve(Settings())
    return _promote(settings, last_promotion(settings).replaced, True, timeout_s if wait else None, as_json)


def publish_folder(folder: Path, settings: Settings) -> dict[str, Any]:
    """Publish a folder; return the answer of the command."""
    from neardup_platform.learning.classifier.s3_registry import PREFIX
    from neardup_platform.learning.classifier.s3_registry import publish as put
    from neardup_platform.s3_client import open_s3

    card, new = put(open_s3(settings.s3), settings.s3, folder)
    return {"version": card.version, "uri": f"s3://{settings.s3.bucket}/{PREFIX}/{card.version}/", "new": new}


def _promote(settings: Settings, version: str, force: bool, timeout_s: float | None, as_json: bool) -> int:
    from neardup_platform.learning.classifier.s3_registry import check_version

    try:
        check_version(version)
    except BadArtefact as error:
        raise click.BadParameter(str(error), param_hint="VERSION") from error
    if (found := _what_if(settings, version)) is not None:
        report(found)
    arguments = LoadModelArguments(version=version, force=force)
    return send_to_worker(settings, arguments, as_json, promotion_in_words, timeout_s)


def _what_if(settings: Settings, version: str) -> str | None:
    """The newest what-if of a classifier, in words; None if there is none."""
    from neardup_platform.s3_client import open_s3
    from neardup_platform.what_if.in_words import kept_in_words
    from neardup_platform.what_if.s3_what_ifs import newest_what_if

    with suppress(NeardupError):
        found = newest_what_if(open_s3(settings.s3), settings.s3, version)
        return None if found is None else kept_in_words(found)
    return None


def _promotions(settings: Settings) -> list[dict[str, Any]] | None:
    """Every promotion, newest first; None if the API does not answer."""
    try:
        with api_client(settings, attempts=1) as api:
            return [asdict(promotion) for promotion in api.promotions()]
    except NeardupError:
        return None


def _entry(entry: "Published", active: str | None) -> dict[str, Any]:
    base = {
        "version": entry.version,
        "published_ms": entry.published_ms,
        "in_force": entry.version == active,
        "problem": entry.problem,
    }
    if entry.card is None:
        return base
    card = entry.card
    return {
        **base,
        "threshold": card.threshold,
        "head_threshold": card.head_threshold,
        "target_precision": card.training.get("target_precision"),
        "metrics": dict(card.metrics),
        "fits": {kind: f"{spec.version} [{spec.dim}]" for kind, spec in card.required_models.items()},
    }


def _describe_published(answer: dict[str, Any]) -> str:
    return f"{answer['uri']} {'published' if answer['new'] else 'is published already, with the same bytes'}"


def _describe_list(answer: dict[str, Any]) -> str:
    head = f"active: {answer['in_force'] or 'unknown, no worker has reported it'}"
    if not answer["classifiers"]:
        return f"{head}\nthe registry is empty: `neardup train … --publish` fills it"
    entries = [
        f"{'>' if entry['in_force'] else ' '} {entry['version']}  {_when(entry['published_ms'])}  {_metrics(entry)}"
        for entry in answer["classifiers"]
    ]
    return "\n".join([head, *entries, *map(_change, answer["promotions"] or ())])


def _change(promotion: dict[str, Any]) -> str:
    change = f"{promotion['replaced']} → {promotion['version']} by {promotion['issued_by']}"
    return f"{_when(promotion['at_ms'])}  {change}{', forced' if promotion['forced'] else ''}"


def _metrics(entry: dict[str, Any]) -> str:
    if entry["problem"]:
        return str(entry["problem"])
    at = entry["metrics"].get("at_threshold", {})
    return (
        f"threshold {entry['threshold']:.3f}: precision {at.get('precision', 0):.4f} (target "
        f"{entry['target_precision']}), recall {at.get('recall', 0):.4f}; recall at 99% precision "
        f"{entry['metrics'].get('pair_recall_at_p99', 0):.4f}"
    )


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M:%SZ}"
