"""The labels of clusters, according to the worker's store.

The labels are read again when a command has changed one. Where the labelled images are is looked up for each answer.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice

from neardup_platform.records import Label
from neardup_platform.serving.named_images import named_inside
from neardup_platform.store.view import StoreView
from neardup_platform.wire.codec import decode_label

# Labels of one cluster in an answer.
MAX_SHOWN = 100


@dataclass(frozen=True, slots=True)
class _Read:
    """The labels as of one command.

    Attributes:
        of: the store, and what changed a label last.
        labels: by image, oldest first.
        banks: labels in each bank.
    """

    of: tuple[str, tuple[int, int]] = ("", (0, 0))
    labels: dict[str, list[Label]] = field(default_factory=dict)
    banks: Counter[str] = field(default_factory=Counter)


class FollowedLabels:
    """Reads labels; may be used by several threads."""

    def __init__(self) -> None:
        self._read = _Read()

    def of_cluster(self, store: StoreView, head: str, banks: Collection[str] | None = None) -> list[Label]:
        """Return the labels of a cluster, at most `MAX_SHOWN`.

        Args:
            banks: only those of these banks; None for all.
        """
        labels = self._current(store).labels
        if not labels:
            return []
        cluster = store.clusters.find(head)
        if cluster is None:
            return []
        inside = named_inside(store, {head: cluster.size}, labels)
        found = (label for _, image_id in inside for label in labels[image_id] if banks is None or label.bank in banks)
        return list(islice(found, MAX_SHOWN))

    def images_of(self, store: StoreView, bank: str) -> list[str]:
        """Return the images in a bank that have a label of their own."""
        labels = self._current(store).labels
        return [image_id for image_id, own in labels.items() if any(label.bank == bank for label in own)]

    def banks(self, store: StoreView) -> dict[str, int]:
        """Return the number of labels in each bank, by name."""
        return dict(sorted(self._current(store).banks.items()))

    def _current(self, store: StoreView) -> _Read:
        changed_by = store.labels.changed_by()
        if not any(changed_by):
            return _Read()
        of = store.state().store_id, changed_by
        read = self._read
        if read.of != of:
            read = _Read(of)
            for record in store.labels.all():
                read.labels.setdefault(record.label.image_id, []).append(decode_label(record.label))
                read.banks[record.label.bank] += 1
            self._read = read
        return read
