"""The active labels in memory, by the cluster that the labelled images are in at present.

A label names an image, never a head: when the image moves, or its cluster gets another head, the label follows. Where
there are no labels, a decision costs no look-up; else one or two. After images have moved, the heads of the labelled
ones are compared with the previous ones, in one step over an array.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np

from neardup_platform.corpus import Corpus
from neardup_platform.records import Decision, Label
from neardup_platform.store.store_pb2 import LabelRecord
from neardup_platform.store.view import StoreView
from neardup_platform.wire.codec import decode_label

# Labels that a decision carries.
MAX_LABELS_EACH = 16
# Ordinal of an image that is not decided, and of the head of its cluster.
_UNKNOWN = -1


class ClusterLabels:
    """See `Labelling`.

    Args:
        stored: the active labels, oldest first.
        store: holds every image decided in an earlier step.
        corpus: says which clusters images are in, those of the present step included.
    """

    def __init__(self, stored: Iterable[LabelRecord], store: StoreView, corpus: Corpus) -> None:
        self._store, self._corpus = store, corpus
        self._labels: dict[str, dict[str, Label]] = {}
        self._ordinals: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        self._inside: dict[int, dict[str, None]] = {}
        self._moves = corpus.moves
        self._count = 0
        for record in stored:
            self._add(decode_label(record.label))
        self._locate(list(self._labels))

    def __len__(self) -> int:
        return self._count

    def __call__(self, image_id: str, ordinal: int, head: int | None, /) -> tuple[Label, ...]:
        """See `Labelling`: those of the cluster and of the image itself, at most `MAX_LABELS_EACH`."""
        if not self._labels:
            return ()
        self._follow()
        if self._ordinals.get(image_id) == _UNKNOWN:
            self._place(image_id, ordinal, ordinal if head is None else head)
        others = self._inside.get(head) if head is not None else None
        if others is None and image_id not in self._labels:
            return ()
        carried = chain([image_id], (other for other in others or () if other != image_id))
        found = (label for each in carried for label in self._labels.get(each, {}).values())
        return tuple(islice(found, MAX_LABELS_EACH))

    def of(self, decision: Decision) -> tuple[Label, ...]:
        """Return the labels of a decision about a stored image, which joins a cluster or founds one."""
        if not self._labels:
            return ()
        own = self._store.images.find(decision.image_id)
        head = None if decision.founded else self._store.images.find(decision.head)
        return self(decision.image_id, _UNKNOWN if own is None else own.ordinal, None if head is None else head.ordinal)

    def put(self, label: Label) -> None:
        """Add a label, in place of that of the image in the same bank."""
        known = label.image_id in self._labels
        self._add(label)
        if not known:
            self._locate([label.image_id])

    def remove(self, bank: str, image_id: str) -> None:
        """Remove a label."""
        banks = self._labels[image_id]
        del banks[bank]
        self._count -= 1
        if not banks:
            del self._labels[image_id]
            self._leave(image_id)
            del self._heads[image_id], self._ordinals[image_id]

    def of_image(self, image_id: str) -> list[Label]:
        """Return the labels of an image itself, one a bank."""
        return list(self._labels.get(image_id, {}).values())

    def __iter__(self) -> Iterator[Label]:
        return (label for banks in self._labels.values() for label in banks.values())

    def _add(self, label: Label) -> None:
        banks = self._labels.setdefault(label.image_id, {})
        self._count += label.bank not in banks
        banks[label.bank] = label

    def _locate(self, image_ids: list[str]) -> None:
        """Look up where images are."""
        records = self._store.images.find_many(image_ids) if image_ids else []
        for image_id, record in zip(image_ids, records, strict=True):
            ordinal = _UNKNOWN if record is None else record.ordinal
            self._place(image_id, ordinal, _UNKNOWN if record is None else self._corpus.head_of(ordinal))

    def _place(self, image_id: str, ordinal: int, head: int) -> None:
        self._leave(image_id)
        self._ordinals[image_id], self._heads[image_id] = ordinal, head
        if head != _UNKNOWN:
            self._inside.setdefault(head, {})[image_id] = None

    def _leave(self, image_id: str) -> None:
        head = self._heads.get(image_id, _UNKNOWN)
        if head != _UNKNOWN:
            del self._inside[head][image_id]
            if not self._inside[head]:
                del self._inside[head]

    def _follow(self) -> None:
        """Follow the images that have moved since."""
        if self._moves == self._corpus.moves:
            return
        self._moves = self._corpus.moves
        count = len(self._ordinals)
        image_ids = list(self._ordinals)
        ordinals = np.fromiter(self._ordinals.values(), np.int64, count)
        before = np.fromiter(self._heads.values(), np.int64, count)
        now = np.where(ordinals == _UNKNOWN, _UNKNOWN, self._corpus.heads_of(ordinals))
        # An ordinal without a head is dead: the image has another one, or is gone.
        self._locate([image_ids[row] for row in np.flatnonzero((now != before) | (now == _UNKNOWN)).tolist()])
