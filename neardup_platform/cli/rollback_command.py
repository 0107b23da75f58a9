"""`neardup rollback`: restores the state of a snapshot."""

from typing import Any

import click

from neardup_platform.cli.output import json_option
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option, wait_option
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import RestoreArguments


@click.command(epilog="Example:  neardup rollback 1700000000000-0123abcd   (or: neardup rollback --undo)")
@click.argument("snapshot", required=False)
@click.option("--undo", is_flag=True, help="Return to the store that the last rollback replaced.")
@click.option("--force", is_flag=True, help="Roll back even if Kafka no longer has all embeddings since the snapshot.")
@wait_option
@timeout_option
@json_option
def rollback(snapshot: str | None, undo: bool, force: bool, wait: bool, timeout_s: float, as_json: bool) -> int:
    """Return to a snapshot (`neardup snapshot list`); later embeddings are read and decided again."""
    if undo == (snapshot is not None):
        raise click.UsageError("give a SNAPSHOT, or --undo")
    arguments = RestoreArguments(snapshot=snapshot, undo=undo, force=force)
    return send_to_worker(resolve(Settings()), arguments, as_json, _describe, timeout_s if wait else None)


def _describe(answer: dict[str, Any]) -> str:
    restored = f"{answer['images']} images in {answer['clusters']} clusters"
    lines = [f"{restored} replace {answer['replaced_images']} images; later embeddings are decided again"]
    if answer["overrides_kept"]:
        unmet = answer["overrides_unmet"]
        lines.append(
            f"{answer['overrides_kept']} overrides stay active, {unmet} of them not met by the restored images"
        )
    if answer["embeddings_lost"]:
        lines.append(f"{answer['embeddings_lost']} later embeddings are no longer in Kafka and are lost")
    return "\n".join([*lines, "`neardup rollback --undo` reverts it"])
