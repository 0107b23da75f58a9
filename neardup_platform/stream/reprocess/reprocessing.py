"""Decides all images again, into a store of its own, in rounds with what the stream decides meanwhile.

Checkpoints of the active store → **images in the order of deciding → pipeline → commit** → store under construction

A round decides the images that a checkpoint has more than the previous one. The last round, of a store that stands
still, is followed by `finalise`, which takes over everything else (construction.py). Sequence numbers are reserved in
the active store, so none is used twice. Images whose cluster changes are published, and heads that head no cluster any
more are redirected.

Images may be corrected meanwhile: forgotten, or moved by an override. A round whose checkpoint shows corrections goes
through all images decided so far (follow_corrections.py). Overrides are applied once the new store is active
(corrections/deferred_overrides.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from neardup_platform.clock import Clock
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.decide import Constraints
from neardup_platform.errors import InvariantBroken, PermanentError
from neardup_platform.image_table.mmap_ids import WrittenIds
from neardup_platform.pipeline import Decided, Pipeline
from neardup_platform.records import Cause
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.banks.cluster_labels import ClusterLabels
from neardup_platform.stream.checkpointing import complete_checkpoint
from neardup_platform.stream.commit import commit
from neardup_platform.stream.constraints import constraints_of
from neardup_platform.stream.control.outcome import Write
from neardup_platform.stream.reprocess.construction import (
    CORRECTIONS,
    Construction,
    chunks,
    corrections_of,
    put_history,
)
from neardup_platform.stream.reprocess.follow_corrections import FollowCorrections
from neardup_platform.stream.reprocess.replay import joined_image
from neardup_platform.stream.steps import RedecideStep

BATCH_IMAGES = 64
# Sequence numbers that following the correction of one image may take: for its end and another head of its cluster, or
# for its decision, numbered again.
DECISIONS_EACH = 2

Row = tuple[int, store_pb.VectorRecord, store_pb.ImageRecord]


class DecidedAnew(PermanentError):
    """An image got other vectors while all were decided again."""


@dataclass(frozen=True, slots=True)
class Reprocessed:
    """How far reprocessing has come.

    Attributes:
        images: decided again so far.
        changed: of them, those in another cluster than before.
        next_ordinal: of the first image of the active store that is not decided again.
        corrections: in the active store, as of the last checkpoint.
    """

    images: int
    changed: int
    next_ordinal: int
    corrections: Mapping[str, int]


def no_check() -> None:
    """Never stops a round."""


class Reprocessing:
    """Fills the store under construction.

    Args:
        target: that store, made by `construction.prepare`.
        pipeline: over a corpus of the same images, with the rules to apply.
        command_id: of the command that asks for it.
        checkpoint_path: folder of the checkpoint of the corpus.
        check: called before each batch; raises to stop.
    """

    def __init__(
        self,
        target: Store,
        pipeline: Pipeline,
        command_id: str,
        checkpoint_path: Path,
        clock: Clock,
        check: Callable[[], None] = no_check,
    ) -> None:
        if len(pipeline.corpus) != target.state().ordinals:
            raise InvariantBroken("the corpus is not that of the store being reprocessed: send the command again")
        self._construction, self._target = Construction(target, command_id), target
        self._pipeline = pipeline
        self._checkpoint_path = checkpoint_path
        self._clock = clock
        self._check = check

    def round(self, source: StoreView, first_sequence: int) -> Reprocessed:
        """Decide what a checkpoint has more than the previous one.

        Args:
            first_sequence: of numbers reserved for these images.

        Raises:
            DecidedAnew: an image that was decided here has other vectors now.
        """
        state = self._target.state()
        state.sequence = first_sequence - 1
        progress = self._construction.progress()
        self._follow_corrections(source, state, progress)
        self._pipeline.labels = ClusterLabels(source.labels.all(), self._target, self._pipeline.corpus)
        constraints = constraints_of(Overrides(source.overrides.all()), self._target, self._pipeline.corpus, source)
        for rows in chunks(self._rows(source, progress.done), BATCH_IMAGES):
            self._check()
            self._decide(source, rows, state, progress, constraints)
        # The last ordinals may be dead, or belong to images that only got another one.
        progress.done = source.state().ordinals
        self._construction.save(state, progress)
        return self.so_far()

    def finalise(self, source: StoreView) -> Reprocessed:
        """Complete the store, so that it can replace the active one.

        Args:
            source: the last checkpoint; nothing was decided in the active store since.

        Raises:
            DecidedAnew: an image is missing here, or there.
        """
        images, expected, progress = self._target.state().images, source.state().images, self._construction.progress()
        if images != expected:
            raise DecidedAnew(f"{expected} images had to be decided again, {images} were: send the command again")
        progress.counts["changed"] = self._construction.take_over(source)
        # The worker that opens the store takes over what is on the disk (built_files.py).
        corpus = self._pipeline.corpus
        corpus.index.flush()
        if isinstance(corpus.id_table, WrittenIds):
            complete_checkpoint(self._target, corpus, corpus.id_table, self._checkpoint_path)
        return _reprocessed(images, progress)

    def so_far(self) -> Reprocessed:
        """How far it has come."""
        return _reprocessed(self._target.state().images, self._construction.progress())

    def _follow_corrections(
        self, source: StoreView, state: store_pb.StoreState, progress: store_pb.CommandProgress
    ) -> None:
        corrections = corrections_of(source)
        if all(progress.counts[name] == count for name, count in corrections.items()):
            return
        # Rearrangements take their sequence numbers from the stored totals.
        self._construction.save(state, progress)
        FollowCorrections(self._construction, self._pipeline.corpus, state, self._clock, self._check).apply(
            source, progress
        )
        for name, count in corrections.items():
            progress.counts[name] = count
        self._construction.save(state, progress)

    def _decide(
        self,
        source: StoreView,
        rows: Sequence[Row],
        state: store_pb.StoreState,
        progress: store_pb.CommandProgress,
        constraints: Constraints,
    ) -> None:
        """Decide one batch and commit it."""
        now_ms = self._clock.now_ms()
        images = [joined_image(stored, record) for _, stored, record in rows]
        decided = self._pipeline.decide(images, state.sequence + 1, now_ms, constraints)
        for batch in decided:
            batch.decisions[:] = [replace(decision, cause=Cause.REPROCESS) for decision in batch.decisions]
        progress.done = rows[-1][0] + 1
        step = RedecideStep(self._writer(source, rows, decided, progress), decided=decided)
        commit(self._target, state, step, now_ms, publish=False)

    def _rows(self, source: StoreView, start: int) -> Iterator[Row]:
        """The images that are not decided here yet, with their records, by ordinal."""
        for ordinal, stored in source.vectors.numbered(start):
            record = source.images.find(stored.image_id)
            if record is None:
                raise InvariantBroken(f"image {stored.image_id!r} has vectors in the store but no record")
            mine = self._target.images.find(stored.image_id)
            if mine is None:
                yield ordinal, stored, record
                continue
            found = self._target.vectors.get(mine.ordinal)
            if (found.lsh, found.pair) != (stored.lsh, stored.pair):
                raise DecidedAnew(
                    f"image {stored.image_id!r} got newer embeddings while all images were decided again: send the "
                    "command again"
                )

    def _writer(
        self,
        source: StoreView,
        rows: Sequence[Row],
        decided: Sequence[Decided],
        progress: store_pb.CommandProgress,
    ) -> Write:
        decisions = [decision for batch in decided for decision in batch.decisions]

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            for (_, _, record), decision in zip(rows, decisions, strict=True):
                put_history(batch, source, decision.image_id)
                if decision.head != record.head:
                    self._construction.put_changed(batch, state, progress, decision, record.head)
            self._construction.put_progress(batch, progress)

        return write


def _reprocessed(images: int, progress: store_pb.CommandProgress) -> Reprocessed:
    corrections = {name: progress.counts[name] for name in CORRECTIONS}
    return Reprocessed(images, progress.counts["changed"], progress.done, corrections)
