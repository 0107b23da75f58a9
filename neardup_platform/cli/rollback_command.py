"""`neardup rollback`: restores the state of a snapshot."""

import click

from neardup_platform.cli.output import emit, json_option
from neardup_platform.cli.worker_commands import send_to_worker, timeout_option, wait_option
from neardup_platform.operations.in_words import restore_in_words, rollback_plan_in_words
from neardup_platform.servers.endpoints import resolve
from neardup_platform.settings import Settings
from neardup_platform.wire.command_arguments import RestoreArguments


@click.command(epilog="Example:  neardup rollback 1700000000000-0123abcd --dry-run   (or: neardup rollback --undo)")
@click.argument("snapshot", required=False)
@click.option("--undo", is_flag=True, help="Return to the store that the last rollback or reprocess replaced.")
@click.option("--force", is_flag=True, help="Roll back even if Kafka no longer has all embeddings since the snapshot.")
@click.option("--dry-run", is_flag=True, help="Show what would change; send nothing.")
@click.option(
    "--compare/--no-compare",
    default=True,
    help="With --dry-run, compare every image with the snapshot, which is downloaded for it.",
)
@wait_option
@timeout_option
@json_option
def rollback(
    snapshot: str | None,
    undo: bool,
    force: bool,
    dry_run: bool,
    compare: bool,
    wait: bool,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Return to a snapshot (`neardup snapshot list`); later embeddings are read and decided again."""
    if undo == (snapshot is not None):
        raise click.UsageError("give a SNAPSHOT, or --undo")
    if undo and not compare:
        raise click.UsageError("--no-compare is for a SNAPSHOT: the dry run of --undo compares what is on this machine")
    if dry_run:
        return _show_plan(snapshot, compare, as_json)
    arguments = RestoreArguments(snapshot=snapshot, undo=undo, force=force)
    return send_to_worker(resolve(Settings()), arguments, as_json, restore_in_words, timeout_s if wait else None)


def _show_plan(snapshot: str | None, compare: bool, as_json: bool) -> int:
    from neardup_platform.operations.plans import plan_rollback, plan_undo

    settings = resolve(Settings())
    plan = plan_undo(settings) if snapshot is None else plan_rollback(settings, snapshot, compare=compare)
    emit({**plan.flat(), "examples": plan.examples(settings)}, as_json, rollback_plan_in_words)
    return 0
