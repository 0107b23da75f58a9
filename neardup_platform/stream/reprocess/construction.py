"""The store under construction: what is in it at first, how far it has come, and what it takes over at the end.

It starts as a copy of the first checkpoint of the active store, without its images (`prepare`). Its own progress is in
table PROGRESS. Decisions that put an image into another cluster than was published are kept in table CHANGED until they
move to the outbox.
"""

import shutil
import zlib
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from neardup_platform.files import publish_tree
from neardup_platform.records import Decision
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.swap import copy_store
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.outbox_entries import put_outbox
from neardup_platform.wire.codec import encode_decision
from neardup_platform.wire.topics import DECISIONS

# Rows read or written at once.
CHUNK = 1_000
CORRECTIONS = ("forgotten", "overrides", "redirects")
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
    Table.MOVES,
)
_TAKEN_OVER = (
    Table.POSITIONS,
    Table.WAITING,
    Table.COMMANDS,
    Table.COMMAND_ORDER,
    Table.PROMOTIONS,
    Table.OVERRIDES,
    Table.LABELS,
    Table.HASHES,
    Table.FORGOTTEN,
    Table.PURGES,
    Table.OUTBOX,
    Table.KEPT,
)

Item = TypeVar("Item")


def chunks(items: Iterator[Item], size: int = CHUNK) -> Iterator[list[Item]]:
    """The items in lists of at most `size`."""
    while chunk := list(islice(items, size)):
        yield chunk


def corrections_of(store: StoreView) -> dict[str, int]:
    """Numbers that change when images are corrected in a store: forgotten, overridden, or given another head."""
    overrides, state = "\n".join(override.override_id for override in store.overrides.all()), store.state()
    counts = state.forgotten, zlib.crc32(overrides.encode()), state.redirects
    return dict(zip(CORRECTIONS, counts, strict=True))


def prepare(checkpoint: Path, target: Path, rules: str) -> None:
    """Make the store under construction, unless an interrupted attempt has started it by the same rules.

    Args:
        checkpoint: the first one of the active store.
        rules: names what decides: command, classifier, thresholds, settings.

    Raises:
        HomeInUse: that attempt has not quite ended.
        SetupError: the disk is full or broken.
    """
    if target.exists():
        with closing(Store(target)) as started:
            progress = started.commands.progress(_OWN.decode())
        if progress is not None and progress.of == rules.encode():
            return
        shutil.rmtree(target)
    fresh = target.with_name(f"{target.name}.fresh")
    copy_store(checkpoint, fresh)
    with closing(Store(fresh)) as store:
        _empty(store, rules)
    publish_tree(fresh, target)


def _empty(store: Store, rules: str) -> None:
    """Clear everything that depends on how images are decided."""
    state, batch = store.state(), Batch()
    corrections = corrections_of(store)
    for table in _REPLACED:
        batch.clear(table)
    progress = store_pb.CommandProgress(of=rules.encode(), counts={**corrections, "forgotten_before": state.forgotten})
    batch.put(Table.PROGRESS, _OWN, progress.SerializeToString())
    state.images = state.clusters = state.ordinals = 0
    state.digest, state.store_id = bytes(16), uuid4().hex
    state.ClearField("shared")
    batch.put_state(state)
    store.write(batch)


class Construction:
    """The store under construction, made by `prepare`.

    Args:
        command_id: of the command that makes it.
    """

    def __init__(self, store: Store, command_id: str) -> None:
        self.store = store
        self.command_id = command_id

    def progress(self) -> store_pb.CommandProgress:
        """How far it has come: `done` is the next ordinal of the active store, `counts` the images that changed."""
        return self.store.commands.progress(_OWN.decode()) or store_pb.CommandProgress()

    def put_progress(self, batch: Batch, progress: store_pb.CommandProgress) -> None:
        """Put the progress into a write."""
        batch.put(Table.PROGRESS, _OWN, progress.SerializeToString())

    def save(self, state: store_pb.StoreState, progress: store_pb.CommandProgress) -> None:
        """Write totals and progress."""
        batch = Batch()
        self.put_progress(batch, progress)
        batch.put_state(state)
        self.store.write(batch)

    def put_changed(
        self,
        batch: Batch,
        state: store_pb.StoreState,
        progress: store_pb.CommandProgress,
        decision: Decision,
        published_head: str,
    ) -> None:
        """Record that an image is in another cluster than published; redirect the one that it headed."""
        image_id = decision.image_id
        progress.counts["changed"] += 1
        batch.put(Table.CHANGED, image_id.encode(), encode_decision(decision))
        if published_head == image_id:
            state.redirects += 1
            batch.put(Table.REDIRECTS, layout.hash_key(image_id), self._redirect(decision).SerializeToString())

    def _redirect(self, decision: Decision) -> store_pb.Redirect:
        return store_pb.Redirect(
            head=decision.head,
            sequence=decision.sequence,
            at_ms=decision.decided_ms,
            cause=decision.cause,
            command_id=self.command_id,
        )

    def clear(self, table: Table) -> None:
        """Delete every row of a table."""
        batch = Batch()
        batch.clear(table)
        self.store.write(batch)

    def take_over(self, source: StoreView) -> int:
        """Take over everything but the clusters, and put changed decisions into the outbox; returns how many.

        Args:
            source: the last checkpoint of the active store.
        """
        mine, state, progress = self.store.state(), source.state(), self.progress()
        for table in _TAKEN_OVER:
            self._copy(table, source)
        for name in ("images", "clusters", "ordinals", "digest", "store_id", "redirects", "commit"):
            setattr(state, name, getattr(mine, name))
        state.ClearField("shared")
        state.sequence = max(mine.sequence, state.sequence)
        changed = self._publish_changed(state)
        done = Batch()
        done.clear(Table.CHANGED)
        done.clear(Table.PROGRESS)
        if state.forgotten != progress.counts["forgotten_before"]:
            # The files of this store hold bytes of images that were forgotten since; opening it removes them.
            done.put(Table.PURGES, layout.number_key(state.commands + 1), b"")
        done.put_state(state)
        self.store.write(done)
        self.store.flush()
        return changed

    def _copy(self, table: Table, source: StoreView) -> None:
        self.clear(table)
        for chunk in chunks(source.scan(table)):
            batch = Batch()
            for key, value in chunk:
                batch.put(table, key, value)
            self.store.write(batch)

    def _publish_changed(self, state: store_pb.StoreState) -> int:
        """Append the changed decisions to the outbox; returns how many."""
        changed = 0
        for chunk in chunks(self.store.scan(Table.CHANGED)):
            batch = Batch()
            put_outbox(batch, state, ((DECISIONS, key, value) for key, value in chunk))
            changed += len(chunk)
            self.store.write(batch)
        return changed


def put_history(batch: Batch, source: StoreView, image_id: str) -> None:
    """Copy the decisions of an image."""
    for sequence, decision in zip(source.history.sequences(image_id), source.history.all(image_id), strict=True):
        batch.put(Table.HISTORY, layout.sequence_key(image_id, sequence), decision)
