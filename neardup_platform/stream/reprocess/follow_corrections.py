"""Follows corrections that were made in the active store while another one is under construction.

Images that were forgotten are taken out. For all others the history of corrections is copied, and what has to be
published is found again, by comparing clusters with those of the active store.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from neardup_platform.clock import Clock
from neardup_platform.clusters.change import Change
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.corpus import Corpus
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.commit import commit
from neardup_platform.stream.reprocess.construction import Construction, chunks, put_history
from neardup_platform.stream.steps import RedecideStep
from neardup_platform.wire.codec import decode_decision


class FollowCorrections:
    """Applies what was corrected since the previous checkpoint.

    Args:
        corpus: of the images in the store under construction.
        state: totals of that store with the sequence numbers reserved for this round; kept up to date.
        check: called for each chunk of images; raises to stop.
    """

    def __init__(
        self,
        construction: Construction,
        corpus: Corpus,
        state: store_pb.StoreState,
        clock: Clock,
        check: Callable[[], None],
    ) -> None:
        self._construction, self._store = construction, construction.store
        self._corpus = corpus
        self._state = state
        self._clock = clock
        self._check = check

    def apply(self, source: StoreView, progress: store_pb.CommandProgress) -> None:
        """Apply the corrections.

        Args:
            source: the checkpoint; of the active store.
            progress: its count of changed images is counted again.
        """
        for image_id in self._copy_history(source):
            self._forget(image_id)
        self._find_changed(source, progress)

    def _copy_history(self, source: StoreView) -> list[str]:
        """Copy the history of images corrected since; returns the images that were forgotten."""
        forgotten: list[str] = []
        for chunk in chunks(self._store.images.all()):
            self._check()
            batch = Batch()
            records = source.images.find_many([image_id for image_id, _ in chunk])
            for (image_id, _), record in zip(chunk, records, strict=True):
                if record is None:
                    forgotten.append(image_id)
                elif not self._store.history.has(image_id, record.sequence):
                    put_history(batch, source, image_id)
            self._store.write(batch)
        return forgotten

    def _forget(self, image_id: str) -> None:
        plan = self._plan()
        plan.depart([image_id])
        plan.forget(image_id)
        change = plan.complete()
        self._commit(change)
        self._corpus.follow(change.steps)
        self._corpus.erase_dropped()

    def _find_changed(self, source: StoreView, progress: store_pb.CommandProgress) -> None:
        """List again which images are in another cluster than was published of them last."""
        self._construction.clear(Table.CHANGED)
        progress.counts["changed"] = 0
        for chunk in chunks(self._store.images.all()):
            self._check()
            records = source.images.find_many([image_id for image_id, _ in chunk])
            changed = {
                image_id: (mine, record)
                for (image_id, mine), record in zip(chunk, records, strict=True)
                if record is not None and record.head != mine.head
            }
            self._restate(image_id for image_id, (mine, was) in changed.items() if was.sequence > mine.sequence)
            batch = Batch()
            for image_id, (_, record) in changed.items():
                decision = decode_decision(self._store.history.current(image_id))
                self._construction.put_changed(batch, self._state, progress, decision, record.head)
            self._store.write(batch)

    def _restate(self, image_ids: Iterable[str]) -> None:
        """Give decisions new numbers where later ones were published: consumers use the highest of each image."""
        plan = self._plan()
        for image_id in image_ids:
            decision = decode_decision(self._store.history.current(image_id))
            plan.restate(replace(decision, sequence=plan.next_sequence))
        self._commit(plan.complete())

    def _plan(self) -> Rearrangement:
        return Rearrangement(self._store, self._clock.now_ms(), self._construction.command_id)

    def _commit(self, change: Change) -> None:
        commit(self._store, self._state, RedecideStep(change.write), self._clock.now_ms(), publish=False)
