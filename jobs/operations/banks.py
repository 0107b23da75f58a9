"""The jobs `label` and `bank_csv`: clusters that are labelled."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from jobs.operations.metadata import rows, shown
from jobs.operations.operation_job import DryRunConfig, Operation, Outcome, operation
from neardup_platform.errors import BadCommand
from neardup_platform.operations.in_words import (
    command_in_words,
    label_in_words,
    label_plan_in_words,
    labels_in_words,
    unlabel_in_words,
)
from neardup_platform.operations.label_csv import LABELS, MAX_ROWS, OPTIONAL, REQUIRED
from neardup_platform.wire.command_arguments import (
    BANK_PATTERN,
    MAX_POLICY,
    MAX_REASON,
    LabelArguments,
    UnlabelArguments,
)
from neardup_platform.wire.validation import MAX_ID_BYTES


class LabelConfig(DryRunConfig):
    """One label."""

    remove: bool = Field(False, description="true: take the image out of the bank; policy and action are not needed.")
    bank: str = Field(pattern=BANK_PATTERN, description="The bank: 1 to 64 of a-z, 0-9 and -. `hate-2026`")
    image_id: str = Field(
        min_length=1,
        max_length=MAX_ID_BYTES,
        description="Any image of the cluster; the label follows it. `bridge.jpg`",
    )
    policy: str = Field("", max_length=MAX_POLICY, description="The name of the policy. `hate`")
    action: str = Field("", max_length=MAX_POLICY, description="What consumers do. `block`, `review`")
    reason: str = Field("", max_length=MAX_REASON, description="Why, in your own words; kept with the label.")

    def arguments(self) -> LabelArguments | UnlabelArguments:
        """The command's arguments.

        Raises:
            BadCommand: policy or action is missing.
        """
        given = {"bank": self.bank, "image_id": self.image_id}
        if self.remove:
            return UnlabelArguments.parse(given)
        return LabelArguments.parse(given | {"policy": self.policy, "action": self.action, "reason": self.reason})


class BankCsvConfig(DryRunConfig):
    """Where the rows are: one of the two."""

    text: str = Field(
        "",
        description=f"The rows themselves, with a header; columns {', '.join((*REQUIRED, *OPTIONAL))}, at most "
        f"{MAX_ROWS} rows. In YAML, as a block: `text: |` and the lines below it, indented.",
    )
    file: str = Field("", max_length=4_096, description="Or the path of a CSV file on the machine that runs the job.")

    def labels(self) -> list[LabelArguments]:
        """The labels of all rows.

        Raises:
            BadCommand: a row is wrong, or not exactly one source is given.
        """
        if bool(self.text) == bool(self.file):
            raise BadCommand("give either text, the rows themselves, or file, the path of a CSV file")
        return LABELS.read(self.text, "text") if self.text else LABELS.read_file(Path(self.file))


@operation(
    "label_cluster",
    LabelConfig,
    "Labels the cluster of an image in a bank, or takes the image out of it. The answer lists the images that are in "
    "the cluster now; every image that joins later carries the label in its decision. The dry run checks the arguments "
    "and shows the cluster.",
)
def label(operation: Operation, config: LabelConfig) -> Outcome:
    """Show the cluster, or send `label` or `unlabel`."""
    from neardup_platform.operations.label_plan import plan_labels

    arguments = config.arguments()
    if config.dry_run:
        plan = plan_labels(operation.settings, [arguments])
        values = {"image_id": config.image_id, "head": plan["images"][config.image_id]}
        text = f"{command_in_words(arguments)} would be sent; the image is in the cluster of {values['head']}"
        return Outcome(text, shown(operation.settings, values))
    answer = operation.carry_out(arguments).flat()
    members = answer.pop("members", [])
    if config.remove:
        return Outcome(unlabel_in_words(answer), shown(operation.settings, answer))
    table = {"members": rows({"image_id": image_id} for image_id in members)}
    return Outcome(label_in_words(answer | {"members": members}), {**table, **shown(operation.settings, answer)})


@operation(
    "label_clusters",
    BankCsvConfig,
    "Adds the labels of a CSV, such as `neardup bank export` writes. If a row is wrong, nothing is sent. If the worker "
    "refuses a row, the others still apply, and the run fails with the reasons. Labels that are there already stay. "
    "The dry run checks all rows and shows the clusters of the images now.",
)
def bank_csv(operation: Operation, config: BankCsvConfig) -> Outcome:
    """Show where the images are, or send each row as a `label`."""
    from neardup_platform.operations.label_plan import plan_labels

    labels = config.labels()
    if config.dry_run:
        plan = plan_labels(operation.settings, labels)
        table = rows({"image_id": image_id, "cluster": head} for image_id, head in plan["images"].items())
        numbers = {name: plan[name] for name in ("labels", "clusters")}
        text = f"{label_plan_in_words(plan)}; nothing was sent"
        return Outcome(text, {"images_now": table, **shown(operation.settings, numbers)})
    answers = operation.label_all(labels)
    refused = [(each, answer) for each, answer in zip(labels, answers, strict=True) if not answer.accepted]
    if refused:
        raise dg.Failure(
            f"{refused[0][1].reason} (the worker refused {len(refused)} of {len(answers)} rows; the others apply: "
            "correct these and launch a new run)",
            metadata={
                "refused": rows(
                    {"bank": each.bank, "image_id": each.image_id, "refused_because": answer.reason}
                    for each, answer in refused
                )
            },
            allow_retries=False,
        )
    return Outcome(labels_in_words([answer.flat() for answer in answers]))
