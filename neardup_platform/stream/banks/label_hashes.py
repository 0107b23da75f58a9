"""`label-hashes` and `unlabel-hashes`: put PDQ hashes into a bank, and take them out again.

Hashes → **into the bank, in one commit → stored images searched in a thread → labels, in another** → answer

A hash in a bank labels images: what it is within `MAX_DISTANCE` bits of is put into the bank, as if an operator had
done it, so everything that holds for labels holds for these. New images are matched when they are decided, from the
first commit on (cluster_labels.py); the stored ones that have a hash are searched then. None is missed in between,
because no image is being decided during a commit of a command. Where a cluster has a like label already, it gets no
second one; of several images of a cluster the nearest is labelled.

Taking a hash out takes the labels that it gave with it. A worker that is killed after the first commit finds the hashes
there and searches again.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from neardup_platform.clock import Clock
from neardup_platform.errors import Conflict, NotFound
from neardup_platform.records import LEAST_PDQ_QUALITY, Label
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.banks.bank_hashes import MAX_HASHES, BankHashes, words_of
from neardup_platform.stream.banks.cluster_labels import MAX_LABELS
from neardup_platform.stream.banks.label_rows import put_changed, put_label
from neardup_platform.stream.control.interruption import Interruption
from neardup_platform.stream.control.outcome import Done, Finish, Stage
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_label, encode_label
from neardup_platform.wire.command_arguments import LabelHashesArguments, UnlabelHashesArguments

# Matches that the answer lists, nearest first; `GET /v1/banks/{bank}` pages through all labels.
SHOWN = 100
# Stored images compared at once.
_CHUNK = 16_384


@dataclass(frozen=True, slots=True)
class Found:
    """What the search of the stored images found.

    Attributes:
        labels: of each image that a hash matches, the nearest first.
        without: images that have no hash that can be matched.
    """

    labels: Sequence[Label]
    without: int


class AddHashes:
    """The handler of `label-hashes`."""

    def __init__(self, redeciding: Redeciding, clock: Clock) -> None:
        self._redeciding, self._store, self._clock = redeciding, redeciding.store, clock
        self._interruption = Interruption()

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interruption.interrupt()

    def __call__(self, command: pb.Command, arguments: LabelHashesArguments) -> Finish:
        """See `Handler`."""
        self._interruption.clear()
        return partial(self._add, command, arguments)

    def _add(self, command: pb.Command, arguments: LabelHashesArguments) -> Stage:
        """Put the hashes into the bank that it does not have."""
        hashes = [bytes.fromhex(pdq) for pdq in arguments.hashes]
        new = Label(command.command_id, arguments.bank, "", arguments.policy, arguments.action)
        there = {record.label.pdq: record.label for record in self._there(arguments.bank, hashes)}
        for pdq, label in there.items():
            if (label.policy, label.action) != (new.policy, new.action):
                raise Conflict(
                    f"hash {pdq.hex()} is in bank {label.bank!r} with policy {label.policy!r} and action "
                    f"{label.action!r}, by label {label.label_id}: remove it first"
                )
        fresh = [replace(new, pdq=pdq.hex()) for pdq in hashes if pdq not in there]
        in_memory = self._redeciding.labels.hashes
        if len(in_memory) + len(fresh) > MAX_HASHES:
            raise Conflict(
                f"there are {len(in_memory):,} hashes, and {len(fresh):,} more would exceed the maximum of "
                f"{MAX_HASHES:,}: remove some first"
            )
        records = self._records(command, arguments, fresh)
        count = self._store.hashes.counts().get(new.bank, 0) + len(fresh)

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            for record in records:
                record.sequence = state.sequence
                key = layout.hash_in_bank_key(new.bank, record.label.pdq)
                batch.put(Table.HASHES, key, record.SerializeToString())
            _put_count(batch, new.bank, count)

        labels = [*fresh, *map(decode_label, there.values())]
        return Stage(
            partial(self._search, command, arguments, labels, len(fresh)), write, apply=partial(in_memory.put, fresh)
        )

    def _records(
        self, command: pb.Command, arguments: LabelHashesArguments, labels: Sequence[Label]
    ) -> list[store_pb.LabelRecord]:
        now_ms = self._clock.now_ms()
        return [
            store_pb.LabelRecord(
                label=encode_label(label), reason=arguments.reason, issued_by=command.issued_by, at_ms=now_ms
            )
            for label in labels
        ]

    def _there(self, bank: str, hashes: list[bytes]) -> list[store_pb.LabelRecord]:
        return [record for record in self._store.hashes.find_many(bank, hashes) if record is not None]

    def _search(
        self, command: pb.Command, arguments: LabelHashesArguments, labels: Sequence[Label], added: int
    ) -> Finish:
        """Find the stored images that the hashes match."""
        hashes = BankHashes()
        hashes.put(labels)
        found = search(self._store, hashes, self._interruption)
        return partial(self._label, command, arguments, added, found)

    def _label(self, command: pb.Command, arguments: LabelHashesArguments, added: int, found: Found) -> Done:
        """Label those of the images that are still there and whose clusters have no like label."""
        labels, corpus = self._redeciding.labels, self._redeciding.pipeline.corpus
        records = self._store.images.find_many([label.image_id for label in found.labels]) if found.labels else []
        pairs = zip(found.labels, records, strict=True)
        matched = [(label, record) for label, record in pairs if record is not None]
        fresh = labels.fresh([(label, corpus.head_of(record.ordinal)) for label, record in matched])
        if len(labels) + len(fresh) > MAX_LABELS:
            raise Conflict(
                f"there are {len(labels):,} labels, and the images matched need {len(fresh):,} more, above the maximum "
                f"of {MAX_LABELS:,}: the hashes are in the bank, and no stored image was labelled; remove labels, then "
                "add the hashes again"
            )
        to_write = self._records(command, arguments, fresh)

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            for record in to_write:
                record.sequence = state.sequence
                put_label(batch, record)
            if to_write:
                put_changed(batch, state)

        def apply() -> None:
            for label in fresh:
                labels.put(label)

        shown = [
            {"image_id": label.image_id, "head": record.head, "pdq": label.pdq, "distance": label.distance}
            for label, record in matched[:SHOWN]
        ]
        values = {
            "label_id": command.command_id,
            "bank": arguments.bank,
            "policy": arguments.policy,
            "action": arguments.action,
            "hashes": str(len(arguments.hashes)),
            "added": str(added),
            "matched": str(len(matched)),
            "labelled": str(len(fresh)),
            "not_matchable": str(found.without),
            "matches": json.dumps(shown),
        }
        return Done(values, write, apply)


class RemoveHashes:
    """The handler of `unlabel-hashes`."""

    def __init__(self, redeciding: Redeciding) -> None:
        self._redeciding = redeciding

    def __call__(self, _command: pb.Command, arguments: UnlabelHashesArguments) -> Finish:
        """See `Handler`."""
        return partial(self._finish, arguments.bank, arguments.hashes)

    def _finish(self, bank: str, listed: Sequence[str]) -> Done:
        store, labels = self._redeciding.store, self._redeciding.labels
        hashes = [bytes.fromhex(pdq) for pdq in listed]
        found = store.hashes.find_many(bank, hashes)
        missing = [pdq for pdq, record in zip(listed, found, strict=True) if record is None]
        if missing:
            raise NotFound(
                f"{len(missing)} of {len(listed)} hashes are not in bank {bank!r}, the first of them {missing[0]}: "
                "`neardup bank hashes` lists what is; none was removed"
            )
        left = store.hashes.counts()[bank] - len(hashes)
        gone = set(listed)
        ended = [label for label in labels if label.bank == bank and label.pdq in gone]

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            for pdq in hashes:
                batch.delete(Table.HASHES, layout.hash_in_bank_key(bank, pdq))
            _put_count(batch, bank, left)
            for label in ended:
                batch.delete(Table.LABELS, layout.label_key(bank, label.image_id))
            if ended:
                put_changed(batch, state)

        def apply() -> None:
            labels.hashes.remove(bank, hashes)
            for label in ended:
                labels.remove(bank, label.image_id)

        return Done({"bank": bank, "removed": str(len(hashes)), "labels_removed": str(len(ended))}, write, apply)


def search(store: StoreView, hashes: BankHashes, interruption: Interruption) -> Found:
    """Find the stored images that hashes of one bank match.

    Reads every image record; an image that is decided meanwhile may be missing.

    Raises:
        BadCommand: it was interrupted.
    """
    found, without = list[Label](), 0
    for chunk in _chunks(store.images.all()):
        interruption.check()
        able = [(image_id, record.pdq) for image_id, record in chunk if _matchable(record)]
        without += len(chunk) - len(able)
        rows, distances = hashes.nearest(words_of([pdq for _, pdq in able]))
        near = zip(able, rows[:, 0].tolist(), distances[:, 0].tolist(), strict=True)
        found += [
            replace(hashes.label(row, distance), image_id=image_id) for (image_id, _), row, distance in near if row >= 0
        ]
    return Found(sorted(found, key=lambda label: (label.distance, label.image_id)), without)


def _matchable(record: store_pb.ImageRecord) -> bool:
    return bool(record.pdq) and record.pdq_quality >= LEAST_PDQ_QUALITY


def _chunks(
    images: Iterator[tuple[str, store_pb.ImageRecord]],
) -> Iterator[list[tuple[str, store_pb.ImageRecord]]]:
    while chunk := list(islice(images, _CHUNK)):
        yield chunk


def _put_count(batch: Batch, bank: str, count: int) -> None:
    key = layout.hash_count_key(bank)
    if count:
        batch.put(Table.HASHES, key, store_pb.CommandProgress(done=count).SerializeToString())
    else:
        batch.delete(Table.HASHES, key)
