"""Taking over from another pipeline: the jobs `cut_over` and `undo_cut_over`."""

from datetime import UTC, datetime

from pydantic import Field

from assets.handover_parity import shown_disagreements
from jobs.operations.metadata import shown
from jobs.operations.operation_job import DryRunConfig, Operation, Outcome, operation
from neardup_platform.operations.cut_over_in_words import cut_over_in_words, plan_in_words, undo_in_words
from neardup_platform.what_if.hours import HOURS_HELP, parse_hours
from neardup_platform.wire.command_arguments import CutOverArguments, ShadowArguments


class CutOverConfig(DryRunConfig):
    """What to compare with, and what is published."""

    hours: str = Field("", max_length=80, description=f"Of the other pipeline's output to compare with: {HOURS_HELP}")
    publish_differences: bool = Field(
        False,
        description="Also publish our decision about the images of these hours that have another head here, so that "
        "consumers who followed the other pipeline hold what the store holds.",
    )
    force: bool = Field(False, description="Cut over although the gate is red; needs a reason.")
    reason: str = Field("", max_length=500, description=CutOverArguments.model_fields["reason"].description)


@operation(
    "take_over",
    CutOverConfig,
    "Ends the shadow: every decision is published from the next one on. Refused while the other pipeline's clusters "
    "and ours do not agree enough (settings handover.*), unless it is forced. The dry run compares, shows the gate and "
    "the largest disagreements, and says what consumers would see. The job `undo_cut_over` goes back into shadow.",
)
def cut_over(operation: Operation, config: CutOverConfig) -> Outcome:
    """Compare, then send `cut-over` and `publish-withheld`."""
    from neardup_platform.operations import cut_over as engine

    settings = operation.settings
    plan = engine.plan_cut_over(settings, parse_hours(config.hours, datetime.now(UTC)), operation.report)
    if config.dry_run:
        numbers, disagreements = plan.flat(), shown_disagreements(settings, plan.parity)
        return Outcome(plan_in_words(numbers), {**shown(settings, numbers), **disagreements})
    plan.check(force=config.force, reason=config.reason, publish_differences=config.publish_differences)
    answer = engine.cut_over(
        settings, plan, operation.carry_out, config.reason, publish_differences=config.publish_differences
    )
    return Outcome(cut_over_in_words(answer), shown(settings, answer))


@operation(
    "return_to_shadow",
    DryRunConfig,
    "Goes back into shadow: no decision is published from then on, while the worker decides and stores as before. What "
    "was published stays with consumers. Let the other pipeline publish again.",
)
def undo_cut_over(operation: Operation, config: DryRunConfig) -> Outcome:
    """Send `shadow`."""
    if config.dry_run:
        return Outcome("no decision would be published from then on; what was published stays with consumers")
    answer = operation.carry_out(ShadowArguments()).flat()
    return Outcome(undo_in_words(answer), shown(operation.settings, answer))
