"""What becomes of the labels of a forgotten image: they pass to the head of the cluster that it was in."""

from dataclasses import dataclass

from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.banks.cluster_labels import ClusterLabels
from neardup_platform.stream.banks.label_rows import put_changed, put_label
from neardup_platform.wire.codec import decode_label


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The labels of an image that is forgotten.

    Attributes:
        image_id: the image.
        banks: it is in.
        inherited: the labels that its heir gets in its place.
        ended: ids of the others.
    """

    image_id: str
    banks: list[str]
    inherited: list[store_pb.LabelRecord]
    ended: set[str]

    def write(self, batch: Batch, state: store_pb.StoreState) -> None:
        """Put the changes into a commit."""
        for bank in self.banks:
            batch.delete(Table.LABELS, layout.label_key(bank, self.image_id))
        for record in self.inherited:
            put_label(batch, record)
        if self.banks:
            put_changed(batch, state)

    def apply(self, labels: ClusterLabels) -> None:
        """Make the same changes in memory."""
        for bank in self.banks:
            labels.remove(bank, self.image_id)
        for record in self.inherited:
            labels.put(decode_label(record.label))


def inheritance(store: StoreView, labels: ClusterLabels, image_id: str, heir: str) -> Inheritance:
    """Return what becomes of the labels of an image.

    Args:
        heir: the head of the cluster that it was in; empty if nothing is left of that. Where the heir is in a bank by
            a label of its own, it keeps that.
    """
    own = labels.of_image(image_id)
    banks = [label.bank for label in own]
    records = [store.labels.find(bank, image_id) for bank in banks if heir and store.labels.find(bank, heir) is None]
    inherited = [record for record in records if record is not None]
    for record in inherited:
        record.label.image_id = heir
    ended = {label.label_id for label in own} - {record.label.label_id for record in inherited}
    return Inheritance(image_id, banks, inherited, ended)
