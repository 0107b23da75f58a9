"""The asset `promoted_classifier`: the classifier that the worker was asked to activate, and the worker's answer.

classifier_evaluation, if its check passed → **promoted_classifier** → neardup.control → worker.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from assets.classifier_evaluation import classifier_evaluation
from assets.retries import retried
from assets.table_metadata import URI
from assets.training_pairs import GROUP
from resources.code_references import code_reference
from resources.platform import PlatformResource
from resources.versions import given


class PromotedClassifierConfig(dg.Config):
    """How to ask the worker."""

    force: bool = Field(
        False, description="Promote even if the worker, which compares the cards again, finds the metrics worse."
    )
    timeout_s: float = Field(300.0, gt=0, description="How long to wait for the worker's answer.")


@dg.asset(
    ins=given("pair_classifier"),
    group_name=GROUP,
    kinds={"kafka", "s3"},
    owners=["team:models"],
    tags={"neardup/kind": "model"},
    metadata=code_reference(__file__),
    deps=[classifier_evaluation],
    description="Asks the worker to activate the new classifier and waits for its answer; fails with the reason if the "
    "worker refuses. Skipped if the check not_worse_than_in_use fails. Shows the newest what-if of the classifier.",
)
def promoted_classifier(
    context: dg.AssetExecutionContext,
    config: PromotedClassifierConfig,
    pair_classifier: str,
    platform: PlatformResource,
) -> dg.MaterializeResult[None]:
    """Send the command and wait.

    A retried step or a re-executed run gets the first answer again, unless that was a temporary refusal: the root run
    and the classifier name the command.
    """
    from neardup_platform.kafka.control import new_command, run_command
    from neardup_platform.learning.classifier.s3_registry import PREFIX
    from neardup_platform.s3_client import open_s3
    from neardup_platform.what_if.in_words import kept_in_words
    from neardup_platform.what_if.s3_what_ifs import newest_what_if
    from neardup_platform.wire.command_arguments import LoadModelArguments

    arguments = LoadModelArguments(version=pair_classifier, force=config.force)
    root = context.run.root_run_id or context.run.run_id
    command_id = f"dagster-{root}-{pair_classifier}"
    command = new_command(arguments.command, arguments.to_wire(), f"Dagster run {root}", command_id)
    settings = platform.settings()
    with retried(context, delay_s=5.0):
        result = run_command(settings.kafka, command, config.timeout_s)
        if not result.accepted:
            refusal = f"the worker refused classifier {pair_classifier}: {result.reason}"
            raise dg.Failure(refusal, allow_retries=result.temporary)
        found = newest_what_if(open_s3(settings.s3), settings.s3, pair_classifier)
    values: dict[str, Any] = {name: dg.MetadataValue.text(value) for name, value in sorted(result.values.items())}
    if found is not None:
        values["what_if"] = dg.MetadataValue.text(kept_in_words(found))
    return dg.MaterializeResult(
        metadata={
            URI: f"s3://{settings.s3.bucket}/{PREFIX}/{pair_classifier}/",
            **values,
            "command_id": dg.MetadataValue.text(command.command_id),
        },
        data_version=dg.DataVersion(pair_classifier),
    )
