"""Answers about banks and labels."""

from pydantic import Field

from neardup_platform.serving.answers.answer import Answer
from neardup_platform.store import store_pb2 as store_pb


class Label(Answer):
    """That an image is in a bank: a policy and an action for its whole cluster."""

    label_id: str
    bank: str
    image_id: str = Field(description="the image that was labelled")
    policy: str
    action: str = Field(description="such as block or review")


class StoredLabel(Label):
    """A label, with who added it, when and why."""

    reason: str
    issued_by: str
    at_ms: int
    sequence: int = Field(description="of the last decision made before it")


class Bank(Answer):
    """A bank that has labels."""

    bank: str
    labels: int


class Banks(Answer):
    """Every bank that has labels, by name."""

    banks: list[Bank]


class BankPage(Answer):
    """A page of the labels of a bank, in order of image id."""

    bank: str
    labels: list[StoredLabel]
    next_cursor: str | None = Field(description="pass it as `cursor`; null on the last page")


class Labelled(Answer):
    """What a new label applies to: the images that are in the cluster now. Those that join later carry it."""

    command_id: str
    label_id: str
    bank: str
    image_id: str
    policy: str
    action: str
    head: str = Field(description="of the cluster that the image is in")
    size: int = Field(description="members of that cluster")
    members: list[str] = Field(description="the first 100 of them, oldest first")


class Unlabelled(Answer):
    """What was taken out of a bank."""

    command_id: str
    label_id: str
    bank: str
    image_id: str


def stored_label(record: store_pb.LabelRecord) -> StoredLabel:
    """A stored label as an answer."""
    label = record.label
    return StoredLabel.of(
        record,
        label_id=label.label_id,
        bank=label.bank,
        image_id=label.image_id,
        policy=label.policy,
        action=label.action,
    )
