"""All images decided again, into a store of its own, in rounds with what the stream decides meanwhile.

Checkpoints of the store in force → **images in order of deciding → pipeline → commit** → the store to come.

The store to come begins as a copy of the first checkpoint without its images. A round decides the images that a
checkpoint has more than those before; the last one, of a store that stands still, is followed by `finalise`, which
takes over everything else. Sequence numbers are reserved in the active store, so none is given twice. An image that
changed its cluster is published; a head that heads no cluster any more is redirected.

Images may be corrected meanwhile: forgotten, or moved by an override. A round that sees from the checkpoint that some
were goes through all images that it has: those forgotten are taken out, and what is to be published is found again by
comparing clusters with those of the active store. Overrides are applied once the new store is active (ahead.py).
"""

import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from neardup_platform.clusters.overrides import Overrides
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import InvariantBroken, PermanentError
from neardup_platform.files import publish_tree
from neardup_platform.pipeline import Decided, Pipeline
from neardup_platform.records import Cause, Decision
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.swap import copy_store
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.commit import Step, commit
from neardup_platform.stream.constraints import constraints_of
from neardup_platform.stream.control.command import Outcome
from neardup_platform.stream.outbox_entries import put_outbox
from neardup_platform.stream.reprocess.replay import joined_image
from neardup_platform.wire.codec import decode_decision, encode_decision
from neardup_platform.wire.topics import DECISIONS

BATCH_IMAGES = 64
# Rows copied in one write.
_CHUNK = 1_000
_OWN = b"reprocess"
_REPLACED = (
    Table.IMAGES,
    Table.CLUSTERS,
    Table.MEMBERS,
    Table.RECENT,
    Table.HISTORY,
    Table.VECTORS,
    Table.OUTBOX,
    Table.PROGRESS,
)
_CORRECTIONS = ("forgotten", "overrides", "redirects")
# Sequence numbers that following the correction of an image may take: of its end, and of another head of its cluster;
# or of its decision, numbered again.
DECISIONS_EACH = 2
_TAKEN_OVER = (
    Table.POSITIONS,
    Table.WAITING,
    Table.COMMANDS,
    Table.COMMAND_ORDER,
    Table.PROMOTIONS,
    Table.OVERRIDES,
    Table.FORGOTTEN,
    Table.PURGES,
    Table.OUTBOX,
    Table.KEPT,
)

Item = TypeVar("Item")
Row = tuple[int, store_pb.VectorRecord, store_pb.ImageRecord]


class DecidedAnew(PermanentError):
    """An image got other vectors while all were decided again."""


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """How far it has come.

    Attributes:
        images: decided again so far.
        changed: of them, those in another cluster than before.
        next_ordinal: in the store in force, of the first image not decided again.
        corrections: of the active store, as of the checkpoint followed last.
    """

    images: int
    changed: int
    next_ordinal: int
    corrections: Mapping[str, int]


def corrections_of(store: StoreView) -> dict[str, int]:
    """Changes whenever images are corrected in a store: forgotten, under other overrides, under other heads."""
    overrides, state = "\n".join(override.override_id for override in store.overrides.all()), store.state()
    counts = state.forgotten, zlib.crc32(overrides.encode()), state.redirects
    return dict(zip(_CORRECTIONS, counts, strict=True))


def prepare(checkpoint: Path, target: Path, rules: str) -> None:
    """Make the store to come from the first checkpoint, unless an interrupted attempt has begun it by the same rules.

    Args:
        rules: names what decides: command, classifier, thresholds, settings.

    Raises:
        HomeInUse: that attempt has not quite ended.
        SetupError: the disk is full or broken.
    """
    if target.exists():
        with closing(Store(target)) as begun:
            progress = begun.commands.progress(_OWN.decode())
        if progress is not None and progress.of == rules.encode():
            return
        shutil.rmtree(target)
    fresh = target.with_name(f"{target.name}.fresh")
    copy_store(checkpoint, fresh)
    with closing(Store(fresh)) as store:
        _empty(store, rules)
    publish_tree(fresh, target)


def _empty(store: Store, rules: str) -> None:
    """Leave what does not depend on how images are decided."""
    state, batch = store.state(), Batch()
    corrections = corrections_of(store)
    for table in _REPLACED:
        batch.clear(table)
    progress = store_pb.CommandProgress(of=rules.encode(), counts={**corrections, "forgotten_before": state.forgotten})
    batch.put(Table.PROGRESS, _OWN, progress.SerializeToString())
    state.images = state.clusters = state.ordinals = 0
    state.digest, state.store_id = bytes(16), uuid4().hex
    batch.put_state(state)
    store.write(batch)


class Reprocessing:
    """Fills the store to come.

    Args:
        target: made by `prepare`.
        pipeline: over a corpus of the same images; with the rules that are to hold.
        command_id: of the command that asks for it.
        going_on: called before each batch; raises to end it.
    """

    def __init__(
        self, target: Store, pipeline: Pipeline, command_id: str, going_on: Callable[[], None] = lambda: None
    ) -> None:
        if len(pipeline.corpus) != target.state().ordinals:
            raise InvariantBroken("the corpus is not that of the store being reprocessed: send the command again")
        self._target = target
        self._pipeline = pipeline
        self._command_id = command_id
        self._going_on = going_on

    def round(self, source: StoreView, first_sequence: int) -> Reprocessed:
        """Decide what a checkpoint has more.

        Args:
            first_sequence: of numbers that nobody else gives, one for each of these images.

        Raises:
            DecidedAnew: an image that was decided here already has other vectors now.
        """
        state = self._target.state()
        state.sequence = first_sequence - 1
        progress = self._progress()
        corrections = corrections_of(source)
        if any(progress.counts[name] != count for name, count in corrections.items()):
            # Rearrangements number their decisions by what the store says.
            self._note(state, progress)
            self._reconcile(source, state, progress)
            for name, count in corrections.items():
                progress.counts[name] = count
            self._note(state, progress)
        constraints = constraints_of(Overrides(source.overrides.all()), self._target, self._pipeline.corpus)
        for part in _parts(self._rows(source, progress.done)):
            self._going_on()
            images = [joined_image(stored, record) for _, stored, record in part]
            decided_ms = time.time_ns() // 1_000_000
            decided = self._pipeline.decide(images, state.sequence + 1, decided_ms, constraints)
            for batch in decided:
                batch.decisions[:] = [replace(decision, cause=Cause.REPROCESS) for decision in batch.decisions]
            progress.done = part[-1][0] + 1
            write = self._writer(source, part, decided, progress)
            commit(self._target, state, Step(outcome=Outcome({}, write=write)), decided, publish=False)
        # The last ordinals may be dead, or of images that only got another one.
        progress.done = source.state().ordinals
        self._note(state, progress)
        return self.so_far()

    def _reconcile(self, source: StoreView, state: store_pb.StoreState, progress: store_pb.CommandProgress) -> None:
        """Apply what was corrected in the active store since the previous checkpoint.

        Args:
            state: totals of the target with the numbers that are reserved; kept up to date.
        """
        forgotten: list[str] = []
        for part in _parts(self._target.images.all(), _CHUNK):
            self._going_on()
            batch = Batch()
            for (image_id, _), record in zip(
                part, source.images.find_many([image_id for image_id, _ in part]), strict=True
            ):
                if record is None:
                    forgotten.append(image_id)
                elif not self._target.history.has(image_id, record.sequence):
                    _put_history(batch, source, image_id)
            self._target.write(batch)
        for image_id in forgotten:
            self._forget(image_id, state)
        self._find_changed(source, state, progress)

    def _forget(self, image_id: str, state: store_pb.StoreState) -> None:
        plan = Rearrangement(self._target, time.time_ns() // 1_000_000, self._command_id)
        plan.depart([image_id])
        plan.forget(image_id)
        change = plan.complete()
        commit(self._target, state, Step(outcome=Outcome({}, write=change.write)), (), publish=False)
        self._pipeline.corpus.follow(change.steps)

    def _find_changed(self, source: StoreView, state: store_pb.StoreState, progress: store_pb.CommandProgress) -> None:
        """List again which images are in another cluster than was last published of them."""
        cleared = Batch()
        cleared.clear(Table.CHANGED)
        self._target.write(cleared)
        progress.counts["changed"] = 0
        for part in _parts(self._target.images.all(), _CHUNK):
            self._going_on()
            records = source.images.find_many([image_id for image_id, _ in part])
            changed = {
                image_id: (mine, record)
                for (image_id, mine), record in zip(part, records, strict=True)
                if record is not None and record.head != mine.head
            }
            self._restate(
                [image_id for image_id, (mine, was) in changed.items() if was.sequence > mine.sequence], state
            )
            batch = Batch()
            for image_id, (_, record) in changed.items():
                decision = decode_decision(self._target.history.current(image_id))
                self._put_changed(batch, state, progress, decision, record.head)
            self._target.write(batch)

    def _restate(self, image_ids: list[str], state: store_pb.StoreState) -> None:
        """Number decisions again that others were published after: consumers go by the highest sequence of an image."""
        plan = Rearrangement(self._target, time.time_ns() // 1_000_000, self._command_id)
        for image_id in image_ids:
            decision = decode_decision(self._target.history.current(image_id))
            plan.restate(replace(decision, sequence=plan.next_sequence))
        change = plan.complete()
        commit(self._target, state, Step(outcome=Outcome({}, write=change.write)), (), publish=False)

    def _note(self, state: store_pb.StoreState, progress: store_pb.CommandProgress) -> None:
        batch = Batch()
        batch.put(Table.PROGRESS, _OWN, progress.SerializeToString())
        batch.put_state(state)
        self._target.write(batch)

    def finalise(self, source: StoreView) -> Reprocessed:
        """Take over everything but the clusters, and put what changed into the outbox.

        Args:
            source: the last checkpoint; nothing was decided in the store in force since.

        Raises:
            DecidedAnew: an image is missing here, or there.
        """
        mine, state, progress = self._target.state(), source.state(), self._progress()
        if mine.images != state.images:
            raise DecidedAnew(f"{state.images} images were to be decided again, {mine.images} were: send it again")
        for table in _TAKEN_OVER:
            self._copy(table, source.scan(table))
        for name in ("images", "clusters", "ordinals", "digest", "store_id", "redirects", "commit"):
            setattr(state, name, getattr(mine, name))
        state.sequence = max(mine.sequence, state.sequence)
        changed = self._publish_changed(state)
        done = Batch()
        done.clear(Table.CHANGED)
        done.clear(Table.PROGRESS)
        if state.forgotten != progress.counts["forgotten_before"]:
            # Bytes of images that were forgotten meanwhile lie in its files, and leave them when it is opened.
            done.put(Table.PURGES, layout.number_key(state.commands + 1), b"")
        done.put_state(state)
        self._target.write(done)
        self._target.flush()
        progress.counts["changed"] = changed
        return self._told(mine.images, progress)

    def so_far(self) -> Reprocessed:
        """How far it is."""
        progress = self._progress()
        return self._told(self._target.state().images, progress)

    def _told(self, images: int, progress: store_pb.CommandProgress) -> Reprocessed:
        corrections = {name: progress.counts[name] for name in _CORRECTIONS}
        return Reprocessed(images, progress.counts["changed"], progress.done, corrections)

    def _rows(self, source: StoreView, start: int) -> Iterator[Row]:
        for ordinal, stored in source.vectors.numbered(start):
            record = source.images.find(stored.image_id)
            if record is None:
                raise InvariantBroken(f"image {stored.image_id!r} has vectors in the store but no record")
            mine = self._target.images.find(stored.image_id)
            if mine is not None:
                found = self._target.vectors.get(mine.ordinal)
                if (found.lsh, found.pair) != (stored.lsh, stored.pair):
                    raise DecidedAnew(
                        f"image {stored.image_id!r} got newer embeddings while all images were decided again: send the "
                        "command again"
                    )
                continue
            yield ordinal, stored, record

    def _writer(
        self, source: StoreView, part: list[Row], decided: list[Decided], progress: store_pb.CommandProgress
    ) -> Callable[[Batch, store_pb.StoreState], None]:
        decisions = [decision for batch in decided for decision in batch.decisions]

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            for (_, _, record), decision in zip(part, decisions, strict=True):
                _put_history(batch, source, decision.image_id)
                if decision.head != record.head:
                    self._put_changed(batch, state, progress, decision, record.head)
            batch.put(Table.PROGRESS, _OWN, progress.SerializeToString())

        return write

    def _put_changed(
        self,
        batch: Batch,
        state: store_pb.StoreState,
        progress: store_pb.CommandProgress,
        decision: Decision,
        head: str,
    ) -> None:
        """Note that an image is in another cluster than that of `head`, which it was published to be in."""
        image_id = decision.image_id
        progress.counts["changed"] += 1
        batch.put(Table.CHANGED, image_id.encode(), encode_decision(decision))
        if head == image_id:
            state.redirects += 1
            batch.put(Table.REDIRECTS, layout.hash_key(image_id), self._redirect(decision).SerializeToString())

    def _redirect(self, decision: Decision) -> store_pb.Redirect:
        return store_pb.Redirect(
            head=decision.head,
            sequence=decision.sequence,
            at_ms=decision.decided_ms,
            cause=decision.cause,
            command_id=self._command_id,
        )

    def _progress(self) -> store_pb.CommandProgress:
        return self._target.commands.progress(_OWN.decode()) or store_pb.CommandProgress()

    def _copy(self, table: Table, rows: Iterator[tuple[bytes, bytes]]) -> None:
        batch = Batch()
        batch.clear(table)
        self._target.write(batch)
        for part in _parts(rows, _CHUNK):
            batch = Batch()
            for key, value in part:
                batch.put(table, key, value)
            self._target.write(batch)

    def _publish_changed(self, state: store_pb.StoreState) -> int:
        """Put the decisions that changed something behind what the outbox has; returns how many."""
        changed = 0
        for part in _parts(self._target.scan(Table.CHANGED), _CHUNK):
            batch = Batch()
            changed += len(put_outbox(batch, state, ((DECISIONS, key, value) for key, value in part)))
            self._target.write(batch)
        return changed


def _put_history(batch: Batch, source: StoreView, image_id: str) -> None:
    for sequence, decision in zip(source.history.sequences(image_id), source.history.all(image_id), strict=True):
        batch.put(Table.HISTORY, layout.sequence_key(image_id, sequence), decision)


def _parts(items: Iterator[Item], size: int = BATCH_IMAGES) -> Iterator[list[Item]]:
    while part := list(islice(items, size)):
        yield part
