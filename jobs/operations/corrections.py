"""The jobs `override`, `override_csv`, `forget` and `forget_csv`: what an operator corrects."""

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from jobs.operations.metadata import rows, shown
from jobs.operations.operation_job import DryRunConfig, Operation, Outcome, operation
from neardup_platform.counted import counted
from neardup_platform.operations.command_csv import read_either
from neardup_platform.operations.forget_csv import MAX_ROWS as MAX_FORGETS
from neardup_platform.operations.forget_csv import read_forgets, read_forgets_file
from neardup_platform.operations.in_words import (
    command_in_words,
    forget_in_words,
    forgets_in_words,
    override_in_words,
    override_plan_in_words,
)
from neardup_platform.operations.override_csv import COLUMNS, MAX_ROWS, read_override_file, read_overrides
from neardup_platform.wire.command_arguments import MAX_LISTED, MAX_REASON, ForgetArguments, OverrideArguments
from neardup_platform.wire.validation import MAX_ID_BYTES

if TYPE_CHECKING:
    from neardup_platform.operations.kafka_carry_out import Answer


class OverrideAction(Enum):
    """What an override does; the names are those of the command."""

    move = "move"
    alone = "alone"
    forbid = "forbid"
    merge = "merge"
    split = "split"
    quarantine = "quarantine"
    remove = "remove"


class OverrideConfig(DryRunConfig):
    """One override."""

    action: OverrideAction = Field(
        description="`move`: image_id belongs with other_id. `alone`: image_id belongs with no other. `forbid`: the "
        "two never share a cluster. `merge`: the clusters of image_id and other_id are one. `split`: image_ids leave "
        "the cluster of image_id for one of their own. `quarantine`: no new image joins the cluster of image_id by its "
        "matches. `remove`: withdraw the override override_id; no cluster changes by this alone."
    )
    image_id: str = Field(
        "",
        max_length=MAX_ID_BYTES,
        description="The image, or any image of the cluster; for all but `remove`. `bridge--crop.jpg`",
    )
    other_id: str = Field(
        "",
        max_length=MAX_ID_BYTES,
        description="The other image; for `move` and `forbid`, and for `merge` its cluster.",
    )
    image_ids: list[str] = Field(
        [], max_length=MAX_LISTED, description=f"For `split`: the images that leave, at most {MAX_LISTED}."
    )
    override_id: str = Field("", max_length=128, description="For `remove`: see `neardup override list`.")
    reason: str = Field("", max_length=MAX_REASON, description="Why, in your own words; kept with the override.")

    def arguments(self) -> OverrideArguments:
        """The command's arguments.

        Raises:
            BadCommand: one is missing, or does not belong to the action.
        """
        given = {name: getattr(self, name) for name in COLUMNS if name not in ("action", "image_ids")}
        given["image_ids"] = "\n".join(self.image_ids)
        return OverrideArguments.parse(
            {"action": self.action.value, **{n: value for n, value in given.items() if value}}
        )


class OverrideCsvConfig(DryRunConfig):
    """Where the rows are: one of the two."""

    text: str = Field(
        "",
        description=f"The rows themselves, with a header; columns {', '.join(COLUMNS)}, at most {MAX_ROWS} rows. "
        "In YAML, as a block: `text: |` and the lines below it, indented.",
    )
    file: str = Field("", max_length=4_096, description="Or the path of a CSV file on the machine that runs the job.")

    def corrections(self) -> list[OverrideArguments]:
        """The overrides of all rows.

        Raises:
            BadCommand: a row is wrong, or not exactly one source is given.
        """
        return read_either(self.text, self.file, read_overrides, read_override_file)


class ForgetConfig(DryRunConfig):
    """Which image to forget."""

    image_id: str = Field(min_length=1, max_length=MAX_ID_BYTES, description="The image to remove, as `bridge.jpg`.")


class ForgetCsvConfig(DryRunConfig):
    """Where the rows are: one of the two."""

    text: str = Field(
        "",
        description=f"The rows themselves: the header image_id, then one id a line, at most {MAX_FORGETS} rows. In "
        "YAML, as a block: `text: |` and the lines below it, indented.",
    )
    file: str = Field("", max_length=4_096, description="Or the path of a CSV file on the machine that runs the job.")

    def images(self) -> list[ForgetArguments]:
        """The images of all rows.

        Raises:
            BadCommand: a row is wrong, or not exactly one source is given.
        """
        return read_either(self.text, self.file, read_forgets, read_forgets_file)


@operation(
    "correct_cluster",
    OverrideConfig,
    "Corrects a cluster: an override applies at once and whenever its images are decided again. The dry run checks the "
    "arguments and shows how many images would move and the clusters of the images now. To revert it, remove the "
    "override.",
)
def override(operation: Operation, config: OverrideConfig) -> Outcome:
    """Show where the images are, or send `override`."""
    arguments = config.arguments()
    if config.dry_run:
        return _where(operation, [arguments])
    answer = operation.carry_out(arguments).flat()
    return Outcome(override_in_words(answer), shown(operation.settings, answer))


@operation(
    "correct_clusters",
    OverrideCsvConfig,
    "Sends the overrides of a CSV, in order. If a row is wrong, nothing is sent. If the worker refuses a row, the "
    "others still apply, and the run fails with the reasons. The dry run checks all rows and shows how many images "
    "would move and the clusters of the images now.",
)
def override_csv(operation: Operation, config: OverrideCsvConfig) -> Outcome:
    """Show where the images are, or send each row as an `override`."""
    corrections = config.corrections()
    if config.dry_run:
        return _where(operation, corrections)
    answers = operation.correct_all(corrections)
    table = {"answers": rows(_row(*each) for each in zip(corrections, answers, strict=True))}
    refused = [answer for answer in answers if not answer.accepted]
    if refused:
        raise dg.Failure(
            f"{refused[0].reason} (the worker refused {len(refused)} of {counted(len(answers), 'row')}; the others "
            "apply: correct these and launch a new run with them alone)",
            metadata=table,
            allow_retries=False,
        )
    return Outcome(f"{counted(len(answers), 'override')} accepted", table)


@operation(
    "forget_image",
    ForgetConfig,
    "Removes an image, its vectors and its history for good; a cluster that it heads gets another head. It cannot be "
    "undone. Snapshots hold the image until they are deleted. The dry run shows its cluster.",
)
def forget(operation: Operation, config: ForgetConfig) -> Outcome:
    """Show where the image is, or send `forget`."""
    from neardup_platform.operations.plans import heads_of

    arguments = ForgetArguments(image_id=config.image_id)
    if config.dry_run:
        head = heads_of(operation.settings, [config.image_id])[config.image_id]
        values = {"image_id": config.image_id, "head": head}
        text = f"{config.image_id}, in the cluster of {head}, would be forgotten; nothing was sent"
        return Outcome(text, shown(operation.settings, values))
    answer = operation.carry_out(arguments).flat()
    return Outcome(forget_in_words(answer), shown(operation.settings, {"image_id": config.image_id, **answer}))


@operation(
    "forget_images",
    ForgetCsvConfig,
    "Removes the images of a CSV, such as a list of takedowns, like `forget`. If a row is wrong, nothing is sent. If "
    "the worker refuses a row, the others are forgotten, and the run fails with the reasons. The dry run checks all "
    "rows and shows the clusters of the images now.",
)
def forget_csv(operation: Operation, config: ForgetCsvConfig) -> Outcome:
    """Show where the images are, or send each row as a `forget`."""
    from neardup_platform.operations.plans import heads_of

    images = config.images()
    if config.dry_run:
        heads = heads_of(operation.settings, [each.image_id for each in images])
        table = rows({"image_id": image_id, "cluster": head} for image_id, head in heads.items())
        return Outcome(f"{counted(len(images), 'image')} would be forgotten; nothing was sent", {"images_now": table})
    answers = operation.correct_in_batches(images)
    refused = [(each, answer) for each, answer in zip(images, answers, strict=True) if not answer.accepted]
    if refused:
        raise dg.Failure(
            f"{refused[0][1].reason} (the worker refused {len(refused)} of {counted(len(answers), 'row')}; the others "
            "are forgotten)",
            metadata={
                "refused": rows(
                    {"image_id": each.image_id, "refused_because": answer.reason} for each, answer in refused
                )
            },
            allow_retries=False,
        )
    return Outcome(forgets_in_words([answer.flat() for answer in answers]))


def _where(operation: Operation, corrections: Sequence[OverrideArguments]) -> Outcome:
    """A dry run: every image that is named is known, this is where it is, and so many would move."""
    from neardup_platform.operations.override_plan import plan_overrides

    plan = plan_overrides(operation.settings, corrections)
    found = plan.flat()
    table = rows({"image_id": image_id, "cluster": head} for image_id, head in plan.images.items())
    words = [command_in_words(each) for each in corrections[:10]]
    summary = f"{override_plan_in_words(found)}; nothing was sent"
    numbers = {name: found[name] for name in ("moved", "clusters_before", "clusters")}
    return Outcome("\n".join([summary, *words]), {"images_now": table, **shown(operation.settings, numbers)})


def _row(correction: OverrideArguments, answer: "Answer") -> dict[str, Any]:
    given = {
        name: str(correction.model_dump().get(name, "")) for name in COLUMNS if name not in ("reason", "image_ids")
    }
    return {
        **given,
        "accepted": answer.accepted,
        "refused_because": answer.reason,
        "cluster": str(answer.values.get("head", "")),
        "decisions": int(answer.values.get("decisions", 0)),
        "moved": int(answer.values.get("moved", 0)),
        "command_id": answer.command_id,
    }
