"""The jobs `label`, `label_hashes` and `bank_csv`: clusters that are labelled, and hashes that label."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from jobs.operations.metadata import rows, shown
from jobs.operations.operation_job import DryRunConfig, Operation, Outcome, operation
from neardup_platform.operations.command_csv import read_either
from neardup_platform.operations.hash_csv import HashFile, HashTerms, lists_images, read_hashes, read_text
from neardup_platform.operations.in_words import (
    all_hashes_in_words,
    command_in_words,
    hashes_in_words,
    hashes_removed_in_words,
    label_in_words,
    label_plan_in_words,
    labels_in_words,
    unlabel_in_words,
)
from neardup_platform.operations.label_csv import LABELS, MAX_ROWS, OPTIONAL, REQUIRED
from neardup_platform.wire.command_arguments import (
    BANK_PATTERN,
    MAX_HASHES_EACH,
    MAX_POLICY,
    MAX_REASON,
    LabelArguments,
    LabelHashesArguments,
    UnlabelArguments,
    UnlabelHashesArguments,
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


class HashesConfig(DryRunConfig):
    """PDQ hashes of one bank."""

    remove: bool = Field(False, description="true: take the hashes out; policy and action are not needed.")
    bank: str = Field(pattern=BANK_PATTERN, description="The bank: 1 to 64 of a-z, 0-9 and -. `known-2026`")
    hashes: list[str] = Field(
        min_length=1, max_length=MAX_HASHES_EACH, description="PDQ hashes, each 64 hexadecimal digits."
    )
    policy: str = Field("", max_length=MAX_POLICY, description="The name of the policy. `hate`")
    action: str = Field("", max_length=MAX_POLICY, description="What consumers do. `block`, `review`")
    reason: str = Field("", max_length=MAX_REASON, description="Why, in your own words; kept with the hashes.")

    def arguments(self) -> LabelHashesArguments | UnlabelHashesArguments:
        """The command's arguments.

        Raises:
            BadCommand: a hash is wrong, or policy or action is missing.
        """
        given = {"bank": self.bank, "hashes": "\n".join(self.hashes)}
        if self.remove:
            return UnlabelHashesArguments.parse(given)
        terms = {"policy": self.policy, "action": self.action, "reason": self.reason}
        return LabelHashesArguments.parse(given | terms)


class BankCsvConfig(DryRunConfig):
    """Where the rows are: `text` or `file`."""

    text: str = Field(
        "",
        description=f"The rows themselves, with a header; columns {', '.join((*REQUIRED, *OPTIONAL))}, at most "
        f"{MAX_ROWS} rows. In YAML, as a block: `text: |` and the lines below it, indented. Without `image_id`, rows "
        "are PDQ hashes, in a column `pdq`, `hash`, `signal_str` or `indicator`.",
    )
    file: str = Field("", max_length=4_096, description="Or the path of a CSV file on the machine that runs the job.")
    bank: str = Field("", max_length=64, description="The bank of hashes in a file without such a column.")
    policy: str = Field("", max_length=MAX_POLICY, description="The same.")
    action: str = Field("", max_length=MAX_POLICY, description="The same.")
    reason: str = Field("", max_length=MAX_REASON, description="The same.")

    def read(self) -> list[LabelArguments] | HashFile:
        """The labels of all rows, or their hashes.

        Raises:
            BadCommand: a row is wrong, or not exactly one source is given.
        """
        return read_either(self.text, self.file, self._read, lambda path: self._read(read_text(path), str(path)))

    def _read(self, text: str, place: str) -> list[LabelArguments] | HashFile:
        if lists_images(text):
            return LABELS.read(text, place)
        return read_hashes(text, place, HashTerms(self.bank, self.policy, self.action, self.reason))


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
    "label_by_hashes",
    HashesConfig,
    "Puts PDQ hashes into a bank, or takes them out, with the labels that they gave. Images within 31 bits of a hash "
    "are labelled: those that are stored, of which the answer lists the nearest, and new ones when they are decided. "
    "The dry run checks the arguments.",
)
def label_hashes(operation: Operation, config: HashesConfig) -> Outcome:
    """Check the hashes, or send `label-hashes` or `unlabel-hashes`."""
    arguments = config.arguments()
    if config.dry_run:
        return Outcome(f"{len(arguments.hashes)} hashes would be sent as {arguments.command} for bank {config.bank}")
    answer = operation.carry_out(arguments).flat()
    if config.remove:
        return Outcome(hashes_removed_in_words(answer), shown(operation.settings, answer))
    matches = answer.pop("matches")
    return Outcome(
        hashes_in_words(answer | {"matches": matches}), {"matches": rows(matches), **shown(operation.settings, answer)}
    )


@operation(
    "label_clusters",
    BankCsvConfig,
    "Adds the labels of a CSV, such as `neardup bank export` writes, or its PDQ hashes, as `neardup bank export "
    "--hashes` and tools around ThreatExchange write them. If a row is wrong, nothing is sent. If the worker refuses a "
    "row, the others still apply, and the run fails with the reasons. What is there already stays. The dry run checks "
    "all rows and shows the clusters of the images now.",
)
def bank_csv(operation: Operation, config: BankCsvConfig) -> Outcome:
    """Show where the images are, or send each row as a `label`, or all hashes of like terms together."""
    found = config.read()
    return _hashes(operation, found, config) if isinstance(found, HashFile) else _labels(operation, found, config)


def _hashes(operation: Operation, found: HashFile, config: BankCsvConfig) -> Outcome:
    answers = [] if config.dry_run else [each.flat() for each in operation.correct_in_batches(found.commands)]
    words = all_hashes_in_words({**found.planned(), "dry_run": config.dry_run, "answers": answers})
    refused = [answer for answer in answers if not answer["accepted"]]
    if refused:
        raise dg.Failure(
            f"{refused[0]['reason']} (the worker refused {len(refused)} of {len(answers)} commands; the others apply)",
            metadata={"refused": rows({"refused_because": answer["reason"]} for answer in refused)},
            allow_retries=False,
        )
    return Outcome(words)


def _labels(operation: Operation, labels: Sequence[LabelArguments], config: BankCsvConfig) -> Outcome:
    from neardup_platform.operations.label_plan import plan_labels

    if config.dry_run:
        plan = plan_labels(operation.settings, labels)
        table = rows({"image_id": image_id, "cluster": head} for image_id, head in plan["images"].items())
        numbers = {name: plan[name] for name in ("labels", "clusters")}
        text = f"{label_plan_in_words(plan)}; nothing was sent"
        return Outcome(text, {"images_now": table, **shown(operation.settings, numbers)})
    answers = operation.correct_in_batches(labels)
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
