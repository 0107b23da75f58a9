"""Going back to an earlier state: `snapshot`, `prune_snapshots`, `rollback`, `undo` and `restore_on_empty_machine`.

The schedule `snapshot_hourly` launches the first of these jobs.
"""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.snapshots import drop_deleted, record_snapshot, snapshot_partitions
from jobs.operations.metadata import linked, shown
from jobs.operations.operation_job import DryRunConfig, Operation, OperationConfig, Outcome, operation
from neardup_platform.operations.in_words import (
    removed_in_words,
    restore_in_words,
    rollback_plan_in_words,
    snapshot_in_words,
)
from neardup_platform.wire.command_arguments import RestoreArguments, SnapshotArguments
from resources.pause_sign import paused_anywhere_by
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from neardup_platform.operations.plans import RollbackPlan

_FORCE = RestoreArguments.model_fields["force"].description


class SnapshotConfig(OperationConfig):
    """How long the snapshot stays."""

    scheduled: bool = Field(
        False,
        description="Whether it is one of a schedule, which `snapshots.keep_hourly` and `keep_daily` thin out. "
        "false: it stays until you delete it, or until `snapshots.keep` says so.",
    )


class PruneConfig(DryRunConfig):
    """Which snapshots stay."""

    keep: int | None = Field(
        None,
        ge=0,
        description="Keep this many of the newest, by hand and scheduled. Without it, the settings `snapshots.keep`, "
        "`keep_hourly` and `keep_daily` choose.",
    )
    older_than_h: float = Field(
        0.0, ge=0, le=1_000_000, description="With keep: younger ones stay as well, in hours. 720 for 30 days."
    )


class RollbackConfig(DryRunConfig):
    """Which snapshot to return to."""

    snapshot: str = Field(
        min_length=1,
        max_length=64,
        description="The id of the snapshot, such as `1700000000000-0123abcd`: a partition of stream/snapshots. "
        "Choosing the partition in the launchpad fills this in.",
    )
    force: bool = Field(False, description=_FORCE)
    compare: bool = Field(
        True,
        description="In the dry run: compare every image with the snapshot, which is downloaded to the worker's home "
        "for it. false: only its manifest is read.",
    )


class EmptyMachineConfig(DryRunConfig):
    """Which snapshot to restore, and what may be replaced."""

    snapshot: str | None = Field(
        None, min_length=1, max_length=64, description="The id of the snapshot; without it, the newest one."
    )
    most_images: int = Field(
        0,
        ge=0,
        description="Refuse if the worker's store holds more images than this. 0: only an empty store is replaced. A "
        "new worker decides at once whatever Kafka still holds: allow as many images as that may be.",
    )
    force: bool = Field(False, description=_FORCE)


@operation(
    "take_snapshot",
    SnapshotConfig,
    "Copies the store to S3, consistently, while the stream runs, and checks that all of it arrived. Files that an "
    "earlier snapshot has stored are not uploaded again. It becomes a partition of stream/snapshots, whose key "
    "is what `rollback` takes. Snapshots that the settings keep no longer are deleted, and their partitions with them.",
)
def snapshot(operation: Operation, config: SnapshotConfig) -> Outcome:
    """Send `snapshot`, and record what it took."""
    from neardup_platform.operations.s3_snapshots_kept import stored, verify
    from neardup_platform.stream.snapshots.s3_snapshot_verification import RECOVERY

    started_s = time.monotonic()
    answer = operation.carry_out(SnapshotArguments(scheduled=config.scheduled)).flat()
    seconds, taken = time.monotonic() - started_s, answer["snapshot"]
    found = verify(operation.settings, taken, read_files=False)
    if found.manifest is None:
        raise dg.Failure(f"{found.summary}. {RECOVERY}", allow_retries=False)
    figures = {"new_bytes": answer["uploaded_bytes"], "pause_ms": answer["pause_ms"], "seconds": round(seconds, 1)}
    record_snapshot(operation.context, operation.settings, found.manifest, found, **figures)
    drop_deleted(operation.context.instance, stored(operation.settings))
    if found.damage:
        raise dg.Failure(f"{found.summary}. {RECOVERY}", allow_retries=False)
    return Outcome(snapshot_in_words(answer), shown(operation.settings, answer))


@operation(
    "delete_old_snapshots",
    PruneConfig,
    "Deletes old snapshots, their partitions, and the files that no other snapshot names; a file that is still named "
    "stays. The dry run lists them. Images that were forgotten leave S3 with the last snapshot that holds them.",
)
def prune_snapshots(operation: Operation, config: PruneConfig) -> Outcome:
    """List the snapshots, or delete them."""
    from neardup_platform.operations.s3_snapshots_kept import prune, stored

    removed = prune(operation.settings, config.keep, 3_600 * config.older_than_h, dry_run=config.dry_run)
    if not config.dry_run:
        drop_deleted(operation.context.instance, stored(operation.settings))
    answer = {"dry_run": config.dry_run, **asdict(removed)}
    return Outcome(removed_in_words(answer), shown(operation.settings, answer))


@dg.schedule(
    job=snapshot,
    # Half an hour away from the hourly log, which reads Kafka and writes S3.
    cron_schedule="30 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="A snapshot every hour, of which the settings keep 24 hourly and 7 daily ones. It runs unless you stop "
    "it, because a rollback needs a snapshot from before the damage.",
)
def snapshot_hourly(context: dg.ScheduleEvaluationContext, platform: PlatformResource) -> dg.RunRequest | dg.SkipReason:
    """Request one, unless a paused worker would keep it waiting."""
    if by := paused_anywhere_by(context.instance, platform.home()):
        return dg.SkipReason(f"the worker is paused by {by}: nothing changes")
    config = {"ops": {"take_snapshot": {"config": {"scheduled": True}}}}
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%d-%H:%M}", run_config=config)


def _chosen(partition: str) -> dict[str, Any]:
    """What a launch of `rollback` for a partition sets."""
    return {"ops": {"roll_back": {"config": {"snapshot": partition, "dry_run": True}}}}


@operation(
    "roll_back",
    RollbackConfig,
    "Puts the images, clusters and history of a snapshot in place of the present ones; embeddings since are read from "
    "Kafka again and decided again. Overrides stay, forgotten images are forgotten again. The dry run shows the "
    "snapshot, the present state, how many embeddings Kafka no longer holds, which images and clusters would change, "
    "with links to the explorer. The job `undo` reverts it.",
    dg.PartitionedConfig(snapshot_partitions, run_config_for_partition_key_fn=_chosen),
)
def rollback(operation: Operation, config: RollbackConfig) -> Outcome:
    """Show the plan, or send `restore`."""
    return _restore(operation, config.snapshot, config)


@operation(
    "undo_rollback",
    DryRunConfig,
    "Returns to the store that the last rollback or reprocess replaced, which the worker keeps beside the present one. "
    "Embeddings since are decided again. The dry run shows which images and clusters would change, with links to the "
    "explorer; it needs the worker's machine. Undoing twice returns to where it began.",
)
def undo(operation: Operation, config: DryRunConfig) -> Outcome:
    """Show the plan, or send `restore` with `undo`."""
    from neardup_platform.operations.plans import plan_undo

    if config.dry_run:
        return _planned(operation, plan_undo(operation.settings))
    answer = operation.carry_out(RestoreArguments(undo=True)).flat()
    return Outcome(restore_in_words(answer), shown(operation.settings, answer))


@operation(
    "restore_newest_snapshot",
    EmptyMachineConfig,
    "Fills the store of a new machine from the newest snapshot on S3, or from a chosen one; embeddings since are read "
    "from Kafka and decided. The worker refuses if its store holds more images than most_images, so a store in use is "
    "never replaced by mistake; `rollback` is for that.",
)
def restore_on_empty_machine(operation: Operation, config: EmptyMachineConfig) -> Outcome:
    """Show the plan, or send `restore`."""
    from neardup_platform.operations.plans import newest_snapshot

    return _restore(operation, config.snapshot or newest_snapshot(operation.settings), config)


def _restore(operation: Operation, snapshot: str, config: RollbackConfig | EmptyMachineConfig) -> Outcome:
    from neardup_platform.operations.plans import plan_rollback

    if config.dry_run:
        compare = isinstance(config, RollbackConfig) and config.compare
        return _planned(operation, plan_rollback(operation.settings, snapshot, compare=compare))
    most = config.most_images if isinstance(config, EmptyMachineConfig) else None
    arguments = RestoreArguments(snapshot=snapshot, force=config.force, most_images=most)
    answer = operation.carry_out(arguments).flat()
    return Outcome(restore_in_words(answer), shown(operation.settings, {"snapshot": snapshot, **answer}))


def _planned(operation: Operation, plan: "RollbackPlan") -> Outcome:
    examples = {f"examples_{kind}": linked(each) for kind, each in plan.examples(operation.settings).items()}
    values = plan.flat()
    return Outcome(rollback_plan_in_words(values), {**examples, **shown(operation.settings, values)})
