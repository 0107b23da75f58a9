"""`label` and `unlabel`: put an image into a bank, and take it out again.

A label is about the cluster that its image is in at present. The answer to `label`, which is one event on
`neardup.control-results`, lists the images that are there already; a new image that joins carries the label in its
decision. No cluster changes by either. A label that is there already stays, and is answered like a new one.
"""

from dataclasses import asdict
from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.errors import Conflict, NotFound
from neardup_platform.records import Label
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_label, encode_label
from neardup_platform.wire.command_arguments import LabelArguments, UnlabelArguments

# Labels that the worker holds in memory.
MAX_LABELS = 100_000
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

        found = self._redeciding.store.labels.find(new.bank, new.image_id)
        if found is None:
            self._check_room()
            return Done(self._answer(new), write, partial(self._redeciding.labels.put, new))
        label = decode_label(found.label)
        if (label.policy, label.action) != (new.policy, new.action):
            raise Conflict(
                f"image {label.image_id!r} is in bank {label.bank!r} with policy {label.policy!r} and action "
                f"{label.action!r}, by label {label.label_id}: remove it first"
            )
        return Done(self._answer(label))

    def _check_room(self) -> None:
        count = len(self._redeciding.labels)
        if count >= MAX_LABELS:
            raise Conflict(f"there are {count:,} labels, the maximum: remove some first")

    def _answer(self, label: Label) -> dict[str, str]:
        """The label, and what is in the cluster of its image."""
        store = self._redeciding.store
        head = self._redeciding.known(label.image_id).head
        return {
            **asdict(label),
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

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            batch.delete(Table.LABELS, layout.label_key(bank, image_id))
            put_changed(batch, state)

        values = {"label_id": found.label.label_id, "bank": bank, "image_id": image_id}
        return Done(values, write, partial(self._redeciding.labels.remove, bank, image_id))


def put_label(batch: Batch, record: store_pb.LabelRecord) -> None:
    """Write a label."""
    batch.put(Table.LABELS, layout.label_key(record.label.bank, record.label.image_id), record.SerializeToString())


def put_changed(batch: Batch, state: store_pb.StoreState) -> None:
    """Tell readers that this command has changed a label, in the commit of its result."""
    batch.put(
        Table.LABELS, layout.LABELS_CHANGED_KEY, store_pb.CommandProgress(done=state.commands).SerializeToString()
    )
