"""`neardup snapshot`: copies of the whole state on S3."""

from datetime import UTC, datetime
from typing import Any

import click

from neardup_platform.cli.output import emit, json_option
from neardup_platform.cli.worker_commands import tell_worker, timeout_option, wait_option
from neardup_platform.embedded.endpoints import resolve
from neardup_platform.settings import Settings


@click.group(invoke_without_command=True, epilog="Example:  neardup snapshot && neardup snapshot list")
@wait_option
@timeout_option
@json_option
@click.pass_context
def snapshot(context: click.Context, wait: bool, timeout_s: float, as_json: bool) -> int | None:
    """Put a consistent copy of the store on S3 while the stream goes on; `list` names those there are."""
    if context.invoked_subcommand is not None:
        return None
    return tell_worker(resolve(Settings()), "snapshot", {}, as_json, _describe_taken, timeout_s if wait else None)


@snapshot.command("list", epilog="Example:  neardup snapshot list --json")
@json_option
def list_(as_json: bool) -> None:
    """List the snapshots on S3, newest first."""
    from neardup_platform.artefacts.s3_client import open_s3
    from neardup_platform.stream.commands.s3_snapshots import list_snapshots

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


def _describe_taken(answer: dict[str, Any]) -> str:
    return (
        f"snapshot {answer['snapshot']}: {answer['images']} images in {answer['clusters']} clusters, "
        f"{int(answer['bytes']) / 1e6:.1f} MB, of which {int(answer['uploaded_bytes']) / 1e6:.1f} were new to S3"
    )


def _describe_list(answer: dict[str, Any]) -> str:
    if not answer["snapshots"]:
        return "there is no snapshot: `neardup snapshot` takes one"
    return "\n".join(map(_line, answer["snapshots"]))


def _line(entry: dict[str, Any]) -> str:
    if "problem" in entry:
        return f"{entry['snapshot']}  {entry['problem']}"
    when = f"{datetime.fromtimestamp(entry['taken_ms'] / 1_000, UTC):%Y-%m-%d %H:%M:%SZ}"
    return (
        f"{entry['snapshot']}  {when}  {entry['images']} images in {entry['clusters']} clusters, "
        f"{entry['bytes'] / 1e6:.1f} MB, digest {entry['digest']}"
    )
