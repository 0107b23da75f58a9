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
    pdq: str = Field("", description="the hash of the bank that the image matched; empty if an operator labelled it")
    distance: int = Field(0, description="bits in which the hash of the image differs, at most 31")


class StoredLabel(Label):
    """A label, with who added it, when and why."""

    reason: str
    issued_by: str
    at_ms: int
    sequence: int = Field(description="of the last decision made before it")


class StoredHash(Answer):
    """A PDQ hash of a bank, with who added it, when and why."""

    label_id: str
    bank: str
    pdq: str = Field(description="64 hexadecimal digits")
    policy: str
    action: str
    reason: str
    issued_by: str
    at_ms: int
    sequence: int = Field(description="of the last decision made before it")


class Bank(Answer):
    """A bank that has labels or PDQ hashes."""

    bank: str
    labels: int
    hashes: int


class Banks(Answer):
    """Every bank that has labels or hashes, by name."""

    banks: list[Bank]


class BankPage(Answer):
    """A page of the labels of a bank, in order of image id."""

    bank: str
    labels: list[StoredLabel]
    next_cursor: str | None = Field(description="pass it as `cursor`; null on the last page")


class HashPage(Answer):
    """A page of the PDQ hashes of a bank, in order of hash."""

    bank: str
    hashes: list[StoredHash]
    next_cursor: str | None = Field(description="pass it as `cursor`; null on the last page")


class HashMatch(Answer):
    """A stored image that a hash matches."""

    image_id: str
    head: str = Field(description="of the cluster that the image is in")
    pdq: str
    distance: int = Field(description="bits in which its hash differs")


class HashesLabelled(Answer):
    """What new hashes match: the images that are stored now. Those that come later are matched when decided."""

    command_id: str
    label_id: str
    bank: str
    policy: str
    action: str
    hashes: int
    added: int = Field(description="of them, those that the bank did not have")
    matched: int = Field(description="stored images that they match")
    labelled: int = Field(description="of them, those put into the bank; the others' clusters have a like label")
    not_matchable: int = Field(description="stored images without a PDQ hash, or with one of a quality below 50")
    matches: list[HashMatch] = Field(description="the nearest 100")


class HashesRemoved(Answer):
    """What was taken out of a bank: hashes, and labels of images that they had matched."""

    command_id: str
    bank: str
    removed: int
    labels_removed: int


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
        pdq=label.pdq.hex(),
        distance=label.distance,
    )


def stored_hash(record: store_pb.LabelRecord) -> StoredHash:
    """A stored hash as an answer."""
    label = record.label
    return StoredHash.of(
        record,
        label_id=label.label_id,
        bank=label.bank,
        pdq=label.pdq.hex(),
        policy=label.policy,
        action=label.action,
    )
