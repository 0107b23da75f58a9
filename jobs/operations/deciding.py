"""The jobs `classifier_rollback`, `replay_dead_letters` and `trace`: what decides, what is decided, and why."""

import dagster as dg
from pydantic import Field

from jobs.operations.metadata import shown
from jobs.operations.moments import moment_ms
from jobs.operations.operation_job import DryRunConfig, Operation, OperationConfig, Outcome, operation
from neardup_platform.errors import BadCommand
from neardup_platform.operations.in_words import promotion_in_words, replay_in_words
from neardup_platform.operations.trace_in_words import trace_in_words
from neardup_platform.wire.command_arguments import LoadModelArguments, TraceArguments
from neardup_platform.wire.validation import MAX_ID_BYTES


class LettersConfig(DryRunConfig):
    """Which dead letters to send again; without a filter, all."""

    reason: str | None = Field(None, max_length=64, description="Only letters with this reason, such as `expired`.")
    since: str | None = Field(
        None,
        max_length=40,
        description="Only letters published since this time: ISO 8601, in UTC unless it says otherwise, as in "
        "`2026-01-31T12:00`.",
    )
    event_ids: list[str] = Field([], max_length=10_000, description="Only these letters; empty for all.")
    force: bool = Field(False, description="Send letters that were replayed three times already, too.")


class TraceConfig(OperationConfig):
    """Which image to trace."""

    image_id: str = Field(min_length=1, max_length=MAX_ID_BYTES, description="A decided image, as `bridge--crop.jpg`.")


@operation(
    "return_to_classifier",
    DryRunConfig,
    "Returns to the classifier that the last promotion replaced, whatever its metrics, while the stream runs. Decided "
    "images stay where they are; `reprocess` decides them again. The dry run shows which classifier that is.",
)
def classifier_rollback(operation: Operation, config: DryRunConfig) -> Outcome:
    """Show the last promotion, or send `load-model`."""
    from neardup_platform.operations.plans import last_promotion

    last = last_promotion(operation.settings)
    if config.dry_run:
        values = {"version": last.replaced, "replaced": last.version, "promoted_ms": last.at_ms, "by": last.issued_by}
        text = (
            f"classifier {last.replaced} would replace {last.version}, promoted by {last.issued_by}; nothing was sent"
        )
        return Outcome(text, shown(operation.settings, values))
    answer = operation.carry_out(LoadModelArguments(version=last.replaced, force=True)).flat()
    return Outcome(promotion_in_words(answer), shown(operation.settings, answer))


@operation(
    "send_letters_again",
    LettersConfig,
    "Publishes the originals of dead letters again, to their topic under their key, once the cause is fixed. Safe to "
    "repeat: images that are decided are not decided again. The dry run counts what would be sent.",
)
def replay_dead_letters(operation: Operation, config: LettersConfig) -> Outcome:
    """Count or publish."""
    from neardup_platform.dead_letters.kafka_dead_letters import LetterFilter, replay
    from neardup_platform.wire.codec import REASONS

    if config.reason is not None and config.reason not in REASONS:
        raise BadCommand(f"reason is {config.reason!r}, one of {', '.join(REASONS)} is expected")
    wanted = LetterFilter(config.reason, frozenset(config.event_ids), moment_ms("since", config.since) or 0)
    done = replay(operation.settings.kafka, wanted, force=config.force, dry_run=config.dry_run).flat(config.dry_run)
    return Outcome(replay_in_words(done), shown(operation.settings, done))


@operation(
    "trace_image",
    TraceConfig,
    "Runs a decided image through the running pipeline again and reports every intermediate result: terms, candidates, "
    "scores, thresholds, the decision. Changes nothing.",
)
def trace(operation: Operation, config: TraceConfig) -> Outcome:
    """Send `trace`."""
    answer = operation.carry_out(TraceArguments(image_id=config.image_id))
    found = answer.values
    values = {"image_id": config.image_id, "head": found["verdict"]["head"], "command_id": answer.command_id}
    metadata = {**shown(operation.settings, values), "trace": dg.MetadataValue.json(dict(found))}
    return Outcome(trace_in_words(answer.flat()), metadata)
