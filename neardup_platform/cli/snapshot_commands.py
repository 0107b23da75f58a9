"""`neardup snapshot`: copies of the whole state on S3."""

import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, ClassVar

import click

from neardup_platform.cli.output import emit, json_option
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option, wait_option
from neardup_platform.operations.in_words import snapshot_in_words
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
    emit({"dry_run": dry_run, **asdict(removed)}, as_json, _describe_removed)


@snapshot.command(epilog="Example:  neardup snapshot prune --keep 7 --older-than 30d --dry-run")
@click.option(
    "--keep", type=click.IntRange(min=0), required=True, help="Keep this many of the newest, whatever their age."
)
@click.option(
    "--older-than", "older_than_s", type=DURATION, default="0s", help="Keep younger ones, too: 30d, 12h, 90m, 10s."
)
@dry_run_option
@json_option
def prune(keep: int, older_than_s: float, dry_run: bool, as_json: bool) -> None:
    """Delete all but the newest snapshots, and the files that these do not share.

    Forgotten images leave S3 with the last snapshot that holds them.
    """
    from neardup_platform.s3_client import open_s3
    from neardup_platform.stream.snapshots.s3_snapshot_retention import prune_snapshots

    settings = resolve(Settings())
    s3, bucket = open_s3(settings.s3), settings.s3.bucket
    removed = prune_snapshots(s3, bucket, keep, older_than_s, now_ms=_now_ms(), dry_run=dry_run)
    emit({"dry_run": dry_run, **asdict(removed)}, as_json, _describe_removed)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _describe_removed(answer: dict[str, Any]) -> str:
    done = "would be deleted" if answer["dry_run"] else "deleted"
    files = f"{answer['files']} files of {answer['bytes'] / 1e6:.1f} MB"
    lines = [f"{len(answer['snapshots'])} snapshot(s) and {files} {done}, {len(answer['kept'])} kept"]
    lines += [f"  {snapshot}" for snapshot in answer["snapshots"]]
    if answer["problem"]:
        lines.append(f"no file {done}: {answer['problem']}")
    return "\n".join(lines)


def _describe_list(answer: dict[str, Any]) -> str:
    if not answer["snapshots"]:
        return "there is no snapshot: `neardup snapshot` creates one"
    return "\n".join(map(_line, answer["snapshots"]))


def _line(entry: dict[str, Any]) -> str:
    if "problem" in entry:
        return f"{entry['snapshot']}  {entry['problem']}"
    when = f"{datetime.fromtimestamp(entry['taken_ms'] / 1_000, UTC):%Y-%m-%d %H:%M:%SZ}"
    return (
        f"{entry['snapshot']}  {when}  {entry['images']} images in {entry['clusters']} clusters, "
        f"{entry['bytes'] / 1e6:.1f} MB, digest {entry['digest']}, by {entry['issued_by']}"
    )
