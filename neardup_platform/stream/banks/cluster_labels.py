"""The active labels in memory, by the cluster that the labelled images are in at present.

A label names an image, never a head: when the image moves, or its cluster gets another head, the label follows. Where
there are no labels, a decision costs no look-up; else one or two. After images have moved, the heads of the labelled
ones are compared with the previous ones, in one step over an array.

A new image whose PDQ hash is near one of a bank is labelled when it is decided, unless its cluster is in the bank
already: however often a picture comes, its cluster has one label.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from neardup_platform.corpus import Corpus
from neardup_platform.records import Decision, Label, PdqHash
from neardup_platform.store.store_pb2 import LabelRecord
from neardup_platform.store.view import StoreView
from neardup_platform.stream.banks.bank_hashes import BankHashes
from neardup_platform.wire.codec import decode_label

# Labels that the worker holds in memory.
MAX_LABELS = 100_000
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
        hashes: those of banks, to match new images with; None matches none.
    """

    def __init__(
        self, stored: Iterable[LabelRecord], store: StoreView, corpus: Corpus, hashes: BankHashes | None = None
    ) -> None:
        self._store, self._corpus = store, corpus
        self.hashes = BankHashes() if hashes is None else hashes
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

    def matching(self, hashes: Sequence[PdqHash | None], /) -> Sequence[Sequence[Label]]:
        """See `Labelling`."""
        return self.hashes.matching(hashes)

    def __call__(
        self, image_id: str, ordinal: int, head: int | None, matched: Sequence[Label] = (), /
    ) -> tuple[Label, ...]:
        """See `Labelling`: those of the image itself and of its cluster, at most `MAX_LABELS_EACH`.

        Those that the image gets by its hash are in memory from now on; the commit of the decision writes them.
        """
        if not (self._labels or matched):
            return ()
        self._follow()
        home = ordinal if head is None else head
        if self._ordinals.get(image_id) == _UNKNOWN:
            self._place(image_id, ordinal, home)
        fresh = self.fresh([(replace(label, image_id=image_id), home) for label in matched[:MAX_LABELS_EACH]])
        kept = fresh[: max(0, MAX_LABELS - len(self))]
        for label in kept:
            self._add(label)
            self._place(image_id, ordinal, home)
        others = self._inside.get(head) if head is not None else None
        if others is None and image_id not in self._labels and not fresh:
            return ()
        carried = chain([image_id], (other for other in others or () if other != image_id))
        found = (label for each in carried for label in self._labels.get(each, {}).values() if label not in kept)
        not_kept = (replace(label, image_id="") for label in fresh[len(kept) :])
        # Those that the commit has to write come first.
        return tuple(islice(chain(kept, not_kept, found), MAX_LABELS_EACH))

    def fresh(self, labels: Sequence[tuple[Label, int]]) -> list[Label]:
        """Return those labels of which the cluster does not have a like one yet; of several like ones the first.

        Labels are alike if bank, policy and action are the same. An image is in a bank once.

        Args:
            labels: each with the ordinal of the head of the cluster of its image.
        """
        found = list[Label]()
        if not labels:
            return found
        self._follow()
        there: dict[int, set[tuple[str, str, str]]] = {}
        for label, head in labels:
            if head not in there:
                inside = (each for image_id in self._inside.get(head, ()) for each in self.of_image(image_id))
                there[head] = {_terms(each) for each in inside}
            if label.bank not in self._labels.get(label.image_id, {}) and _terms(label) not in there[head]:
                there[head].add(_terms(label))
                found.append(label)
        return found

    @property
    def full(self) -> bool:
        """Whether there are as many labels as can be."""
        return len(self) >= MAX_LABELS

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


def _terms(label: Label) -> tuple[str, str, str]:
    return label.bank, label.policy, label.action
