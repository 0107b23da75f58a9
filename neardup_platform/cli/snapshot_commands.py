"""`neardup snapshot`: copies of the whole state on S3."""

import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, ClassVar

import click

from neardup_platform.cli.output import emit, json_option
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option, wait_option
from neardup_platform.counted import counted
from neardup_platform.operations.in_words import removed_in_words, snapshot_in_words
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import SnapshotArguments


class Duration(click.ParamType[Any]):
    """A duration such as `30d`, `12h`, `90m` or `10s`, converted to seconds."""

    name = "duration"
    _UNITS: ClassVar = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType`."""
        found = re.fullmatch("([0-9]+(?:[.][0-9]+)?)([smhd])", str(value))
        if not found:
            self.fail(f"{value!r} is not a duration: use a number followed by s, m, h or d, as in 30d", param, ctx)
        return float(found[1]) * self._UNITS[found[2]]


DURATION = Duration()
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be deleted; delete nothing.")


@click.group(invoke_without_command=True, epilog="Example:  neardup snapshot && neardup snapshot list")
@wait_option
@timeout_option
@json_option
@click.pass_context
def snapshot(context: click.Context, wait: bool, timeout_s: float, as_json: bool) -> int | None:
    """Copy the store to S3, consistently, while the stream runs; `list` shows the snapshots."""
    if context.invoked_subcommand is not None:
        return None
    return send_to_worker(
        resolve(Settings()), SnapshotArguments(), as_json, snapshot_in_words, timeout_s if wait else None
    )


@snapshot.command("list", epilog="Example:  neardup snapshot list --json")
@json_option
def list_(as_json: bool) -> None:
    """List the snapshots on S3, newest first."""
    from neardup_platform.s3_client import open_s3
    from neardup_platform.stream.snapshots.s3_snapshots import list_snapshots

    settings = resolve(Settings())
    found = list_snapshots(open_s3(settings.s3), settings.s3.bucket)
    entries = [
        {"snapshot": entry, "problem": "its manifest cannot be used"}
        if isinstance(entry, str)
        else {
            "snapshot": entry.snapshot,
            "taken_ms": entry.taken_ms,
            "images": entry.images,
            "clusters": entry.clusters,
            "sequence": entry.sequence,
            "digest": entry.digest,
            "classifier_version": entry.classifier_version,
            "terms_version": entry.terms_version,
            "settings": entry.settings,
            "bytes": entry.bytes,
            "issued_by": entry.issued_by,
            "scheduled": entry.scheduled,
        }
        for entry in found
    ]
    emit({"snapshots": entries}, as_json, _describe_list)


@snapshot.command(epilog="Example:  neardup snapshot delete 1700000000000-0123abcd")
@click.argument("snapshots", nargs=-1, required=True, metavar="ID...")
@dry_run_option
@json_option
def delete(snapshots: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Delete snapshots, including damaged ones, and the files that no other snapshot shares."""
    from neardup_platform.s3_client import open_s3
    from neardup_platform.stream.snapshots.s3_snapshot_retention import delete_snapshots

    settings = resolve(Settings())
    s3, bucket = open_s3(settings.s3), settings.s3.bucket
    removed = delete_snapshots(s3, bucket, snapshots, now_ms=_now_ms(), dry_run=dry_run)
    emit({"dry_run": dry_run, **asdict(removed)}, as_json, removed_in_words)


@snapshot.command(epilog="Example:  neardup snapshot prune --keep 7 --older-than 30d --dry-run")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    help="Keep this many of the newest, whatever their age. Without it, the settings `snapshots.…` choose.",
)
@click.option(
    "--older-than", "older_than_s", type=DURATION, help="With --keep, keep younger ones, too: 30d, 12h, 90m, 10s."
)
@dry_run_option
@json_option
def prune(keep: int | None, older_than_s: float | None, dry_run: bool, as_json: bool) -> None:
    """Delete all but the newest snapshots, and the files that these do not share.

    Forgotten images leave S3 with the last snapshot that holds them.
    """
    from neardup_platform.operations import s3_snapshots_kept

    if keep is None and older_than_s is not None:
        raise click.UsageError("--older-than goes with --keep: without --keep the settings choose what stays")
    removed = s3_snapshots_kept.prune(resolve(Settings()), keep, older_than_s or 0.0, dry_run=dry_run)
    emit({"dry_run": dry_run, **asdict(removed)}, as_json, removed_in_words)


@snapshot.command(epilog="Example:  neardup snapshot verify 1700000000000-0123abcd --read")
@click.argument("snapshot_id", metavar="ID")
@click.option("--read", "read_files", is_flag=True, help="Read every byte, which takes as long as a download.")
@json_option
def verify(snapshot_id: str, read_files: bool, as_json: bool) -> int:
    """Check that every file of a snapshot is on S3; exit status 1 if not."""
    from neardup_platform.operations import s3_snapshots_kept

    found = s3_snapshots_kept.verify(resolve(Settings()), snapshot_id, read_files=read_files)
    answer = {"snapshot": snapshot_id, "whole": not found.damage, "damage": found.damage, "summary": found.summary}
    emit(answer, as_json, lambda answer: f"snapshot {answer['snapshot']}: {answer['summary']}")
    return 1 if found.damage else 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _describe_list(answer: dict[str, Any]) -> str:
    if not answer["snapshots"]:
        return "there is no snapshot: `neardup snapshot` creates one"
    return "\n".join(map(_line, answer["snapshots"]))


def _line(entry: dict[str, Any]) -> str:
    if "problem" in entry:
        return f"{entry['snapshot']}  {entry['problem']}"
    when = f"{datetime.fromtimestamp(entry['taken_ms'] / 1_000, UTC):%Y-%m-%d %H:%M:%SZ}"
    return (
        f"{entry['snapshot']}  {when}  {counted(entry['images'], 'image')} in {counted(entry['clusters'], 'cluster')}, "
        f"{entry['bytes'] / 1e6:.1f} MB, digest {entry['digest']}, by {entry['issued_by']}"
    )
