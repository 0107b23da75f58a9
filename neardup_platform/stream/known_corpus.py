"""The ids and clusters of all images at the start: from the last checkpoint and what has changed since, or all of them.

    checkpoint (image_table/checkpoint.py) ─┬─▶ ids, heads, retired by ordinal ─▶ corpus
    store: TOUCHED, later ordinals ─────────┘

What has changed since the checkpoint is in the store: later ordinals are in table VECTORS, and each commit has noted in
table TOUCHED which earlier images it changed. A head that has another ordinal now, or none, leads to its members. They
are read from the store one by one. Whatever does not fit leads to reading the records of all images and clusters, which
says what is damaged: no checkpoint, one of another store or of a later commit, an earlier version that has written
since, a count that differs from the totals, or so many changes that reading everything is as fast.
"""

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, InvariantBroken
from neardup_platform.image_table.checkpoint import (
    Checkpoint,
    Columns,
    head_ordinals,
    read_checkpoint,
    read_columns,
    remove_checkpoint,
)
from neardup_platform.image_table.mmap_ids import WrittenIds
from neardup_platform.progress import Progress
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.changed_since import NotNoted, changed_since
from neardup_platform.store.view import StoreView

log = logging.getLogger(__name__)

_CHUNK = 8_192
# Reading one image by its ordinal takes about as long as reading so many in the order of their ids; so few are always
# read by ordinal.
READ_SINGLY_COSTS = 3
FEW_IMAGES = 1_000
_REPAIR = "stop the worker; `neardup doctor` shows what is damaged, `neardup doctor --repair` repairs it"


class _DoesNotFit(Exception):
    """The checkpoint does not serve this store; the text says why."""


class KnownImages(NamedTuple):
    """By ordinal; one without an image has no id and no head, and is retired.

    Attributes:
        ids: the ids, open for writing.
        columns: heads, and images that the term index need not hold.
        alive: bool [n].
        read: how many were read from the store.
    """

    ids: WrittenIds
    columns: Columns
    alive: NDArray[np.bool_]
    read: int


def known_images(store: StoreView, state: store_pb.StoreState, folder: Path, progress: Progress) -> KnownImages:
    """Take what the checkpoint has, and read the rest from the store.

    Args:
        state: totals of the store.
        folder: of the checkpoint.
        progress: called with how far it has come.

    Raises:
        InvariantBroken: the store contradicts itself.
        SetupError: the disk is full or broken.
    """
    try:
        return _continued(store, state, folder, progress)
    except (_DoesNotFit, NotNoted, BadArtefact) as error:
        log.info("all images are read from the store: %s", error)
    remove_checkpoint(folder)
    return _read_all(store, state, folder, progress)


def _continued(store: StoreView, state: store_pb.StoreState, folder: Path, progress: Progress) -> KnownImages:
    found = read_checkpoint(folder)
    if found is None:
        raise _DoesNotFit("there is no checkpoint")
    changed = _changed(store, state, found)
    rows = _Rows(store, read_columns(folder, found), state.ordinals)
    later = range(found.ordinals, state.ordinals)
    rows.check_effort(len(later) + len(changed))
    ids = WrittenIds(folder, found)
    try:
        ids.extend_to(state.ordinals)
        progress("reading changed images", 0, len(later))
        dead = rows.read(ids, changed)
        members = rows.members_of(dead, changed)
        rows.check_effort(len(later) + len(changed) + len(members))
        rows.read(ids, members)
        rows.read_later(ids, later, progress)
        alive = ids.alive()
        rows.check_totals(alive, state)
    except BaseException:
        ids.close()
        raise
    return KnownImages(ids, _columns(rows.heads, rows.retired), alive, len(later) + len(changed) + len(members))


def _changed(store: StoreView, state: store_pb.StoreState, found: Checkpoint) -> NDArray[np.int64]:
    """Return the ordinals of the checkpoint that later commits have changed, ascending."""
    if found.store_id != state.store_id:
        raise _DoesNotFit("the checkpoint is of another store")
    return np.array(changed_since(store, state, found.commit, found.ordinals), np.int64)


class _Rows:
    """The rows of a checkpoint, brought up to date from the store.

    Args:
        saved: of the checkpoint.
        count: ordinals of the store, at least those of the checkpoint; the later ones are dead at first.

    Attributes:
        heads: int64 [count].
        retired: bool [count].
    """

    def __init__(self, store: StoreView, saved: Columns, count: int) -> None:
        self._store = store
        self.heads, self.retired = np.full(count, -1, np.int64), np.ones(count, np.bool_)
        self.heads[: len(saved.heads)], self.retired[: len(saved.heads)] = head_ordinals(saved), saved.retired

    def read(self, ids: WrittenIds, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        """Read images one by one; returns those of these ordinals that are dead now."""
        dead: list[int] = []
        for at in range(0, len(ordinals), _CHUNK):
            part = ordinals[at : at + _CHUNK].tolist()
            found = [(ordinal, self._store.vectors.find(ordinal)) for ordinal in part]
            missing = [ordinal for ordinal, record in found if record is None]
            self._bury(ids, missing)
            self._put(ids, [(ordinal, record) for ordinal, record in found if record is not None])
            dead += missing
        return np.array(dead, np.int64)

    def members_of(self, heads: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the members of heads that are dead, but those already known: their head has another ordinal now."""
        is_head = np.zeros(len(self.heads) + 1, np.bool_)
        is_head[heads] = True
        # No head is −1, which finds the last entry.
        members = is_head[self.heads]
        members[known] = False
        return np.flatnonzero(members)

    def read_later(self, ids: WrittenIds, later: range, progress: Progress) -> None:
        """Read the images after the checkpoint, in order of ordinal."""
        seen, numbered = later.start, self._store.vectors.numbered(later.start)
        while part := list(islice(numbered, _CHUNK)):
            progress("reading changed images", seen - later.start, len(later))
            if part[-1][0] >= later.stop:
                raise _DoesNotFit(f"the store has vectors of ordinal {part[-1][0]} and gave {later.stop} ordinals")
            given = {ordinal for ordinal, _ in part}
            self._bury(ids, [ordinal for ordinal in range(seen, part[-1][0]) if ordinal not in given])
            self._put(ids, part)
            seen = part[-1][0] + 1
        self._bury(ids, range(seen, later.stop))

    def check_effort(self, changed: int) -> None:
        """Refuse to read so many images one by one that reading all is as fast."""
        if changed > FEW_IMAGES and READ_SINGLY_COSTS * changed > len(self.heads):
            raise _DoesNotFit(f"{changed} of {len(self.heads)} images have changed since the checkpoint")

    def check_totals(self, alive: NDArray[np.bool_], state: store_pb.StoreState) -> None:
        """Refuse rows that contradict the totals of the store, or each other."""
        found = int(alive.sum()), int((self.heads == np.arange(len(self.heads))).sum())
        if found != (state.images, state.clusters) or (alive != (self.heads >= 0)).any():
            raise _DoesNotFit(
                f"it leads to {found[0]} images in {found[1]} clusters, the store has {state.images} in "
                f"{state.clusters}"
            )

    def _bury(self, ids: WrittenIds, ordinals: Sequence[int]) -> None:
        """Make ordinals dead."""
        for ordinal in ordinals:
            ids.put(ordinal, "")
            self.heads[ordinal], self.retired[ordinal] = -1, True

    def _put(self, ids: WrittenIds, records: Sequence[tuple[int, store_pb.VectorRecord]]) -> None:
        """Put images into their rows."""
        images = self._store.images.find_many([record.image_id for _, record in records])
        names = list({image.head for image in images if image is not None})
        heads = dict(zip(names, self._store.images.find_many(names), strict=True))
        for (ordinal, record), image in zip(records, images, strict=True):
            head = None if image is None else heads[image.head]
            if image is None or image.ordinal != ordinal or head is None or head.ordinal >= len(self.heads):
                raise _DoesNotFit(f"the record of image {record.image_id!r} does not name its vectors or its head")
            ids.put(ordinal, record.image_id)
            self.heads[ordinal], self.retired[ordinal] = head.ordinal, record.retired


def _read_all(store: StoreView, state: store_pb.StoreState, folder: Path, progress: Progress) -> KnownImages:
    """Ids and heads from the records of images, and which of them the index holds from those of clusters."""
    count = state.ordinals
    names, head_ids = [""] * count, [""] * count
    alive = np.zeros(count, np.bool_)
    for number, (image_id, record) in enumerate(store.images.all()):
        if not number % _CHUNK:
            progress("reading images", number, state.images)
        if record.ordinal >= count or names[record.ordinal]:
            raise InvariantBroken(f"image {image_id!r} has ordinal {record.ordinal}: another's, or not below {count}")
        names[record.ordinal], head_ids[record.ordinal], alive[record.ordinal] = image_id, record.head, True
    ordinals = {image_id: ordinal for ordinal, image_id in enumerate(names) if image_id}
    if len(ordinals) != state.images:
        raise InvariantBroken(f"the store counts {state.images} images and has records of {len(ordinals)}")
    heads, retired = np.full(count, -1, np.int64), np.ones(count, np.bool_)
    try:
        heads[alive] = [ordinals[head] for head in head_ids if head]
        sizes = np.bincount(heads[alive], minlength=count)
        for number, (head, cluster) in enumerate(store.clusters.all()):
            if not number % _CHUNK:
                progress("reading clusters", number, state.clusters)
            _check_cluster(head, cluster.size, int(sizes[ordinals[head]]))
            sizes[ordinals[head]] = 0
            retired[[ordinals[image_id] for image_id in cluster.representatives]] = False
    except KeyError as error:
        raise InvariantBroken(f"{error} is a head or represents a cluster, but is no image: {_REPAIR}") from error
    if sizes.any():
        raise InvariantBroken(f"{names[int(sizes.argmax())]!r} is the head of images and heads no cluster: {_REPAIR}")
    ids = WrittenIds(folder, None)
    ids.append(names)
    return KnownImages(ids, _columns(heads, retired), alive, state.images)


def _check_cluster(head: str, recorded: int, found: int) -> None:
    if recorded != found:
        raise InvariantBroken(f"the cluster of {head!r} records {recorded} members and has {found}: {_REPAIR}")


def _columns(heads: NDArray[np.int64], retired: NDArray[np.bool_]) -> Columns:
    return Columns((heads + 1).astype(np.uint32), retired)
