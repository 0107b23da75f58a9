"""`label` and `unlabel`: put an image into a bank, and take it out again.

A label is about the cluster that its image is in at present. The answer to `label`, which is one event on
`neardup.control-results`, lists the images that are there already; a new image that joins carries the label in its
decision. No cluster changes by either. A label that is there already stays, and is answered like a new one.

A bank whose labels have the action `never-match` is negative: new images do not join their clusters by matches. An
override of the same id, a quarantine, does that; the two are added, removed and forgotten together.
"""

from dataclasses import asdict
from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.clusters.override_conflicts import MAX_OVERRIDES
from neardup_platform.clusters.override_terms import Action
from neardup_platform.errors import Conflict, NotFound
from neardup_platform.records import Label
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch
from neardup_platform.stream.banks.label_rows import put_changed, put_label
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_label, encode_label
from neardup_platform.wire.command_arguments import NEVER_MATCH, LabelArguments, UnlabelArguments

# Images that the answer lists; `GET /v1/clusters/{head}/members` pages through all.
SHOWN = 100


class AddLabel:
    """The handler of `label`."""

    def __init__(self, redeciding: Redeciding, clock: Clock) -> None:
        self._redeciding, self._clock = redeciding, clock

    def __call__(self, command: pb.Command, arguments: LabelArguments) -> Finish:
        """See `Handler`."""
        return partial(self._finish, command, arguments)

    def _finish(self, command: pb.Command, arguments: LabelArguments) -> Done:
        new = Label(command.command_id, arguments.bank, arguments.image_id, arguments.policy, arguments.action)
        record = store_pb.LabelRecord(
            label=encode_label(new),
            reason=arguments.reason,
            issued_by=command.issued_by,
            at_ms=self._clock.now_ms(),
        )

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            record.sequence = state.sequence
            put_label(batch, record)
            put_changed(batch, state)
            if new.action == NEVER_MATCH:
                quarantine = quarantine_of(record)
                batch.put(Table.OVERRIDES, new.label_id.encode(), quarantine.SerializeToString())

        def apply() -> None:
            self._redeciding.labels.put(new)
            if new.action == NEVER_MATCH:
                self._redeciding.overrides.put(quarantine_of(record))

        found = self._redeciding.store.labels.find(new.bank, new.image_id)
        if found is None:
            self._check_room(new)
            return Done(self._answer(new), write, apply)
        label = decode_label(found.label)
        if (label.policy, label.action) != (new.policy, new.action):
            raise Conflict(
                f"image {label.image_id!r} is in bank {label.bank!r} with policy {label.policy!r} and action "
                f"{label.action!r}, by label {label.label_id}: remove it first"
            )
        return Done(self._answer(label))

    def _check_room(self, new: Label) -> None:
        count, overrides = len(self._redeciding.labels), len(self._redeciding.overrides)
        if self._redeciding.labels.full:
            raise Conflict(f"there are {count:,} labels, the maximum: remove some first")
        if new.action == NEVER_MATCH and overrides >= MAX_OVERRIDES:
            raise Conflict(
                f"there are {overrides:,} overrides, the maximum, and {NEVER_MATCH} is one: remove some first"
            )

    def _answer(self, label: Label) -> dict[str, str]:
        """The label, and what is in the cluster of its image."""
        store = self._redeciding.store
        head = self._redeciding.known(label.image_id).head
        return {
            **{name: str(value) for name, value in asdict(label).items() if value},
            "head": head,
            "size": str(store.clusters.get(head).size),
            "members": "\n".join(store.members.page(head, SHOWN).image_ids),
        }


class RemoveLabel:
    """The handler of `unlabel`."""

    def __init__(self, redeciding: Redeciding) -> None:
        self._redeciding = redeciding

    def __call__(self, _command: pb.Command, arguments: UnlabelArguments) -> Finish:
        """See `Handler`."""
        return partial(self._finish, arguments.bank, arguments.image_id)

    def _finish(self, bank: str, image_id: str) -> Done:
        found = self._redeciding.store.labels.find(bank, image_id)
        if found is None:
            raise NotFound(f"image {image_id[:128]!r} is not in bank {bank!r}: `neardup bank list` shows what is")

        label_id, overrides = found.label.label_id, self._redeciding.overrides
        quarantined = overrides.get(label_id) is not None

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            batch.delete(Table.LABELS, layout.label_key(bank, image_id))
            put_changed(batch, state)
            if quarantined:
                batch.delete(Table.OVERRIDES, label_id.encode())

        def apply() -> None:
            self._redeciding.labels.remove(bank, image_id)
            if quarantined:
                overrides.remove(label_id)

        return Done({"label_id": label_id, "bank": bank, "image_id": image_id}, write, apply)


def quarantine_of(record: store_pb.LabelRecord) -> store_pb.Override:
    """Return the override that acts for a label of a negative bank."""
    return store_pb.Override(
        override_id=record.label.label_id,
        action=Action.QUARANTINE,
        image_id=record.label.image_id,
        reason=record.reason,
        issued_by=record.issued_by,
        at_ms=record.at_ms,
        sequence=record.sequence,
        bank=record.label.bank,
    )
