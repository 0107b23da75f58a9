"""Writes labels: those of commands, and those of new images that the hash of a bank matches."""

from collections.abc import Sequence

from neardup_platform.records import Decision
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Changes
from neardup_platform.wire.codec import encode_label

# Who added the label of an image that was matched when it was decided.
BY_HASH = "PDQ hash"


def put_label(batch: Changes, record: store_pb.LabelRecord) -> None:
    """Write a label."""
    batch.put(Table.LABELS, layout.label_key(record.label.bank, record.label.image_id), record.SerializeToString())


def put_changed(batch: Changes, state: store_pb.StoreState) -> None:
    """Tell readers that a label has changed, in the commit that changes it."""
    changed = store_pb.CommandProgress(done=state.commands, counts={"sequence": state.sequence})
    batch.put(Table.LABELS, layout.LABELS_CHANGED_KEY, changed.SerializeToString())


def put_matched(batch: Changes, store: StoreView, state: store_pb.StoreState, decisions: Sequence[Decision]) -> None:
    """Write the labels that decisions give their own images because of a hash; those that are there already stay.

    Args:
        state: as the commit leaves it.
    """
    matched = [
        (label, decision)
        for decision in decisions
        for label in decision.labels
        if label.pdq and label.image_id == decision.image_id
    ]
    fresh = [
        store_pb.LabelRecord(
            label=encode_label(label), issued_by=BY_HASH, at_ms=decision.decided_ms, sequence=decision.sequence
        )
        for label, decision in matched
        if store.labels.find(label.bank, label.image_id) is None
    ]
    for record in fresh:
        put_label(batch, record)
    if fresh:
        put_changed(batch, state)
