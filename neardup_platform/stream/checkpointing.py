"""Saves what the worker knows of all images, so that the next start does not read it from the store.

Between two steps the corpus is copied, which takes a millisecond for a million images; a thread syncs the store and the
ids, and writes the checkpoint (image_table/checkpoint.py). Then what commits up to it have noted in table TOUCHED is no
longer needed. A worker saves when it has read images from the store at its start, after many decisions, after a load,
and when it is stopped.
"""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from neardup_platform.corpus import Corpus
from neardup_platform.errors import SetupError
from neardup_platform.image_table.checkpoint import Checkpoint, Columns, write_checkpoint
from neardup_platform.image_table.mmap_ids import WrittenIds
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store

log = logging.getLogger(__name__)

# Decisions between two checkpoints: at least so many, and a part of the images. A start reads what they changed.
LEAST_DECISIONS = 65_536
IMAGES_PER_DECISION = 64


@dataclass(frozen=True, slots=True)
class Saving:
    """A checkpoint that is being saved.

    Attributes:
        folder: of the checkpoint.
        ids: of the corpus.
        checkpoint: what to save.
        columns: of its ordinals.
    """

    folder: Path
    ids: WrittenIds
    checkpoint: Checkpoint
    columns: Columns

    @classmethod
    def of(cls, state: store_pb.StoreState, corpus: Corpus, ids: WrittenIds, folder: Path) -> "Saving":
        """Copies a corpus that has followed every commit of the store up to this state."""
        checkpoint = Checkpoint(
            state.store_id, state.commit, state.sequence, state.ordinals, ids.generation, ids.text_bytes
        )
        return cls(folder, ids, checkpoint, corpus.columns(state.ordinals))

    def write(self) -> None:
        """Writes it, durable when this returns. The store is synced up to its commit.

        Raises:
            OSError: the disk is full or broken; the previous checkpoint stays.
            SetupError: likewise.
        """
        self.ids.sync()
        write_checkpoint(self.folder, self.checkpoint, self.columns)


def save_checkpoint(store: Store, saving: Saving) -> bool:
    """Writes a checkpoint, durable when this returns. Safe in another thread than the writer's.

    Returns:
        Whether it is written. A full or broken disk is logged, and leaves the previous checkpoint.
    """
    try:
        store.sync()
        saving.write()
    except (OSError, SetupError) as error:
        log.warning("no checkpoint of the corpus in %s: %s; the next start reads more", saving.folder, error)
        return False
    return True


def complete_checkpoint(store: Store, corpus: Corpus, ids: WrittenIds, folder: Path) -> None:
    """Saves a corpus that has followed every commit of a store that nothing else writes to; begins table TOUCHED."""
    state = store.state()
    if save_checkpoint(store, Saving.of(state, corpus, ids, folder)):
        begin_noting(store, state)


def drop_noted(store: Store, upto: int, after: int = -1) -> None:
    """Deletes what commits have noted in table TOUCHED, once a checkpoint has it; earlier checkpoints become unusable.

    Args:
        upto: commit of the checkpoint.
        after: commit up to which it was deleted before.
    """
    store.write(_without_noted(store, upto, after))


def begin_noting(store: Store, state: store_pb.StoreState) -> None:
    """Begins table TOUCHED with the present commit, once a checkpoint has all images of the store."""
    batch = _without_noted(store, state.commit)
    batch.delete(Table.TOUCHED, layout.UNNOTED_KEY)
    state.touched_commit = state.commit
    batch.put_state(state)
    store.write(batch)


def _without_noted(store: Store, upto: int, after: int = -1) -> Batch:
    batch = Batch()
    for commit, _ in store.touched.after(after):
        if commit < upto:
            batch.delete(Table.TOUCHED, layout.number_key(commit))
    batch.put(Table.TOUCHED, layout.number_key(upto), store_pb.Touched(all=True).SerializeToString())
    return batch


class Checkpointing:
    """Saves the corpus of a worker from time to time; its calls are between two steps.

    Args:
        store: of the worker.
        corpus: rebuilt from it.
        folder: of the checkpoint.
        state: totals of the store.
    """

    def __init__(self, store: Store, corpus: Corpus, folder: Path, state: store_pb.StoreState) -> None:
        self._store, self._corpus, self._folder = store, corpus, folder
        self._begun = _progress(state)
        self._dropped_upto = -1
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._saving: Future[int] | None = None

    def turn(self, state: store_pb.StoreState) -> None:
        """Begins to save if it is time to, and drops what the last checkpoint has made superfluous."""
        if self._saving is not None:
            if not self._saving.done():
                return
            self._drop(self._saving.result())
            self._saving = None
        (sequence, loaded), (begun_at, had_loaded) = _progress(state), self._begun
        due = sequence - begun_at >= max(LEAST_DECISIONS, state.ordinals // IMAGES_PER_DECISION)
        if due or loaded != had_loaded:
            self._saving = self._thread.submit(self._save, self._copied(state))

    def stop(self, state: store_pb.StoreState) -> None:
        """Saves what has changed; returns when it is durable."""
        self.close()
        if _progress(state) != self._begun:
            self._save(self._copied(state))

    def close(self) -> None:
        """Waits for what is being saved."""
        self._thread.shutdown()

    def _copied(self, state: store_pb.StoreState) -> Saving | None:
        self._begun = _progress(state)
        ids = self._corpus.id_table
        return Saving.of(state, self._corpus, ids, self._folder) if isinstance(ids, WrittenIds) else None

    def _save(self, saving: Saving | None) -> int:
        """Saves; returns the commit of the checkpoint, 0 where it could not be written."""
        return saving.checkpoint.commit if saving is not None and save_checkpoint(self._store, saving) else 0

    def _drop(self, commit: int) -> None:
        if commit:
            drop_noted(self._store, commit, self._dropped_upto)
            self._dropped_upto = commit - 1


def _progress(state: store_pb.StoreState) -> tuple[int, tuple[str, bool]]:
    """The last decision, and the last load and whether it was taken in."""
    return state.sequence, (state.reserved.command_id, state.reserved.taken)
