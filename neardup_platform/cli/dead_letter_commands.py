"""`neardup dead-letter`: lists dead letters with their reasons, and publishes the originals again."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from neardup_platform.cli.moments import Moment
from neardup_platform.cli.output import emit, json_option, progress_bar
from neardup_platform.operations.in_words import replay_in_words
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings

if TYPE_CHECKING:
    from neardup_platform.dead_letters.kafka_dead_letters import Listing
    from neardup_platform.wire import neardup_pb2 as pb

_reason_option = click.option("--reason", help="Only letters with this reason, such as `expired`.")
_since_option = click.option(
    "--since",
    "since_ms",
    type=Moment(),
    default=0,
    help="Only letters published since a time, or within an age such as 2h.",
)


@click.group("dead-letter")
def dead_letter() -> None:
    """See what the worker could not use, and publish it again once the cause is fixed."""


@dead_letter.command("list", epilog="Example:  neardup dead-letter list --reason expired --since 2h")
@_reason_option
@_since_option
@click.option("--limit", type=click.IntRange(0, 100_000), default=20, show_default=True, help="Letters to show.")
@json_option
def list_(reason: str | None, since_ms: int, limit: int, as_json: bool) -> None:
    """Count dead letters by reason and show the newest: where the original is and why it failed, never its bytes."""
    from neardup_platform.dead_letters.kafka_dead_letters import LetterFilter, list_letters

    _check_reason(reason)
    listing = list_letters(resolve(Settings()).kafka, LetterFilter(reason, (), since_ms), limit)
    emit(_listing(listing), as_json, _describe_listing)


@dead_letter.command(epilog="Example:  neardup dead-letter replay --reason other-version --dry-run")
@_reason_option
@_since_option
@click.option("--ids", multiple=True, metavar="EVENT_ID", help="Only this letter; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent; send nothing.")
@click.option("--force", is_flag=True, help="Send letters that were replayed three times already, too.")
@json_option
def replay(reason: str | None, since_ms: int, ids: tuple[str, ...], dry_run: bool, force: bool, as_json: bool) -> None:
    """Publish originals again, to their topic under their key. Safe to repeat: decided images are not decided again."""
    from neardup_platform.dead_letters.kafka_dead_letters import LetterFilter
    from neardup_platform.dead_letters.kafka_dead_letters import replay as replay_letters

    _check_reason(reason)
    kafka = resolve(Settings()).kafka
    with progress_bar("replaying", None) as sent:
        done = replay_letters(
            kafka, LetterFilter(reason, frozenset(ids), since_ms), force=force, dry_run=dry_run, sent=sent
        )
    emit(done.flat(dry_run), as_json, replay_in_words)


def _check_reason(reason: str | None) -> None:
    from neardup_platform.wire.codec import REASONS

    if reason is not None and reason not in REASONS:
        raise click.BadParameter(f"{reason!r}, must be one of {', '.join(REASONS)}", param_hint="--reason")


def _listing(listing: "Listing") -> dict[str, Any]:
    return {"counts": listing.counts, "letters": [_letter(*each) for each in listing.letters]}


def _letter(letter: "pb.DeadLetter", value_bytes: int) -> dict[str, Any]:
    return {
        "event_id": letter.event_id,
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "image_id": _image_id(letter.key),
        "value_bytes": value_bytes,
        "replays": letter.replays,
        "at_ms": letter.at_ms,
    }


def _image_id(key: bytes) -> str | None:
    """The key, if it is a valid image id."""
    from neardup_platform.errors import BadMessage
    from neardup_platform.wire.validation import checked_id

    try:
        return checked_id(key.decode())
    except (UnicodeDecodeError, BadMessage):
        return None


def _describe_listing(answer: dict[str, Any]) -> str:
    if not answer["counts"]:
        return "no dead letters"
    counts = [f"{count:>9}  {reason}" for reason, count in answer["counts"].items()]
    return "\n".join([*counts, *map(_describe_letter, answer["letters"])])


def _describe_letter(letter: dict[str, Any]) -> str:
    when = f"{datetime.fromtimestamp(letter['at_ms'] / 1_000, UTC):%Y-%m-%d %H:%M:%SZ}"
    place = f"{letter['topic']}[{letter['partition']}]@{letter['offset']}"
    replays = f", replayed {letter['replays']} times" if letter["replays"] else ""
    return f"{when}  {letter['event_id']}  {place}{replays}  {letter['reason']}: {letter['detail']}"
