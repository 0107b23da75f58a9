"""The asset `promoted_classifier`: the classifier that the worker was told to use, and what it answered.

classifier_evaluation, if its check passed → **promoted_classifier** → neardup.control → worker.
"""

import dagster as dg
from pydantic import Field

from assets.classifier_evaluation import classifier_evaluation
from assets.training_pairs import GROUP
from resources.platform import PlatformResource
from resources.version_files import given


class PromotedClassifierConfig(dg.Config):
    """How the worker is asked."""

    force: bool = Field(
        False, description="Although the worker, which compares the cards once more, finds the figures worse."
    )
    timeout_s: float = Field(300.0, gt=0, description="How long to wait for the worker's answer.")


@dg.asset(
    ins=given("pair_classifier"),
    group_name=GROUP,
    kinds={"kafka"},
    deps=[classifier_evaluation],
    description="Tells the worker to use the new classifier and waits for its answer; fails with the reason if it "
    "refuses. Not run where the check not_worse_than_in_use fails.",
)
def promoted_classifier(
    context: dg.AssetExecutionContext,
    config: PromotedClassifierConfig,
    pair_classifier: str,
    platform: PlatformResource,
) -> dg.MaterializeResult[None]:
    """Send the command and wait. A retried step asks for the first answer again, because the run names the command."""
    from neardup_platform.kafka.control import new_command, run_command

    arguments = {"version": pair_classifier, "force": str(config.force).lower()}
    run = context.run.run_id
    command = new_command("load-model", arguments, f"dagster run {run}", f"dagster-{run}")
    result = run_command(platform.settings().kafka, command, config.timeout_s)
    if not result.accepted:
        raise dg.Failure(f"the worker refused classifier {pair_classifier}: {result.reason}", allow_retries=False)
    told = {name: dg.MetadataValue.text(value) for name, value in sorted(result.values.items())}
    return dg.MaterializeResult(
        metadata={**told, "command_id": dg.MetadataValue.text(command.command_id)},
        data_version=dg.DataVersion(pair_classifier),
    )
