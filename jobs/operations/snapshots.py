"""The jobs `snapshot`, `rollback`, `undo` and `restore_on_empty_machine`: going back to an earlier state."""

from pydantic import Field

from jobs.operations.metadata import shown
from jobs.operations.operation_job import ConfirmedConfig, DryRunConfig, Operation, OperationConfig, Outcome, operation
from neardup_platform.operations.in_words import restore_in_words, rollback_plan_in_words, snapshot_in_words
from neardup_platform.wire.command_arguments import RestoreArguments, SnapshotArguments

_FORCE = RestoreArguments.model_fields["force"].description


class RollbackConfig(DryRunConfig):
    """Which snapshot to return to."""

    snapshot: str = Field(
        min_length=1,
        max_length=64,
        description="The id of the snapshot, such as `1700000000000-0123abcd`: from `neardup snapshot list`, or from "
        "the metadata of a run of `snapshot`.",
    )
    force: bool = Field(False, description=_FORCE)


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
    OperationConfig,
    "Copies the store to S3, consistently, while the stream runs. Files that an earlier snapshot has stored are not "
    "uploaded again. The id in the metadata of the run is what `rollback` takes.",
)
def snapshot(operation: Operation, _config: OperationConfig) -> Outcome:
    """Send `snapshot`."""
    answer = operation.carry_out(SnapshotArguments()).flat()
    return Outcome(snapshot_in_words(answer), shown(operation.settings, answer))


@operation(
    "roll_back",
    RollbackConfig,
    "Puts the images, clusters and history of a snapshot in place of the present ones; embeddings since are read from "
    "Kafka again and decided again. Overrides stay, forgotten images are forgotten again. The dry run shows the "
    "snapshot, the present state, and how many embeddings Kafka no longer holds. The job `undo` reverts it.",
)
def rollback(operation: Operation, config: RollbackConfig) -> Outcome:
    """Show the plan, or send `restore`."""
    return _restore(operation, config.snapshot, config)


@operation(
    "undo_rollback",
    ConfirmedConfig,
    "Returns to the store that the last rollback or reprocess replaced, which the worker keeps beside the present one. "
    "Embeddings since are decided again. There is no dry run, because only the worker has that store; undoing twice "
    "returns to where it began.",
)
def undo(operation: Operation, _config: ConfirmedConfig) -> Outcome:
    """Send `restore` with `undo`."""
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
        plan = plan_rollback(operation.settings, snapshot).flat()
        return Outcome(rollback_plan_in_words(plan), shown(operation.settings, plan))
    most = config.most_images if isinstance(config, EmptyMachineConfig) else None
    arguments = RestoreArguments(snapshot=snapshot, force=config.force, most_images=most)
    answer = operation.carry_out(arguments).flat()
    return Outcome(restore_in_words(answer), shown(operation.settings, {"snapshot": snapshot, **answer}))
