"""Keeps the list of clusters up to date, in a thread: every cluster whose last change is new is listed again.

    store: RECENT, block after block, oldest first ─▶ records of these clusters ─▶ **list** ─▶ page

The first pass, from sequence 0, and each later one, from the sequence that the pass before ended with, are the same. A
load that is taken in brings clusters with earlier sequences, and its range is read once more. Clusters that are gone
are in no block: a page leaves them out, and they are dropped from the list.
"""

import logging
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice

from neardup_platform.errors import ServerUnavailable
from neardup_platform.serving.cluster_order import Listed, Place, Selection
from neardup_platform.serving.rocksdb_follower import StoreFollower
from neardup_platform.serving.sqlite_clusters import SqliteClusters
from neardup_platform.store.layout import RECENT_BLOCK
from neardup_platform.store.store_pb2 import ClusterRecord, StoreState
from neardup_platform.store.view import StoreView

log = logging.getLogger(__name__)

_FOLLOW_S = 0.2
_RETRY_S = 5.0
# Written at once; of a load, those before new changes are followed again: a tenth of a second.
_BLOCKS = 64


class _StoreReplaced(Exception):
    """Another store is active: the list is made again."""


class FollowedList:
    """The list of clusters; see `SqliteClusters`."""

    def __init__(self, follower: StoreFollower) -> None:
        self._follower = follower
        self._clusters: SqliteClusters | None = None
        self._problem = "the list of clusters is being made: try again in some seconds"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster-list", daemon=True)

    def start(self) -> None:
        """Start to follow the store."""
        self._thread.start()

    def close(self) -> None:
        """Stop following, before the follower is closed."""
        self._stop.set()
        self._thread.join()

    def page(
        self,
        selection: Selection,
        limit: int,
        after: Place | None = None,
        inside: Collection[str] | None = None,
        outside: Collection[str] = (),
    ) -> list[Listed]:
        """Return clusters, at most a second old; those that have no longer two members may be among them.

        Args:
            selection, limit, after, inside, outside: as of `SqliteClusters.page`.

        Raises:
            ServerUnavailable: the list is being made.
        """
        try:
            return self._ready().page(selection, limit, after, inside, outside)
        except sqlite3.Error as error:
            raise ServerUnavailable(f"the list of clusters cannot be read: {error}") from error

    def drop(self, gone: Sequence[Listed]) -> None:
        """Remove clusters that a page has found gone."""
        with suppress(sqlite3.Error, ServerUnavailable):
            self._ready().drop(gone)

    def _ready(self) -> SqliteClusters:
        clusters = self._clusters
        if clusters is None:
            raise ServerUnavailable(self._problem)
        return clusters

    def _run(self) -> None:
        pause_s = _FOLLOW_S
        while not self._stop.wait(pause_s):
            pause_s = _FOLLOW_S
            try:
                self._follow()
            except (_StoreReplaced, ServerUnavailable):
                continue
            except Exception as error:  # noqa: BLE001 -- a full disk, a damaged file: only this thread can try again
                pause_s = _RETRY_S
                self._problem = f"the list of clusters cannot be made: {type(error).__name__}: {error}"
                log.warning("%s", self._problem)

    def _follow(self) -> None:
        """Make the list of a store, and follow it until another one is active.

        Raises:
            _StoreReplaced: it is.
        """
        state = self._follower.read(lambda store: store.state())
        source, seen, loaded = state.store_id, 0, _load_of(state)
        clusters = SqliteClusters(self._follower.scratch / "clusters.sqlite")
        of_load: Iterator[int] = iter(())
        try:
            while not self._stop.is_set():
                self._list(clusters, source, _blocks(seen + 1, state.sequence), after=seen)
                seen = state.sequence
                self._clusters = clusters
                if _load_of(state) not in ("", loaded):
                    loaded, of_load = _load_of(state), chain(of_load, _blocks_of_load(state))
                self._list(clusters, source, islice(of_load, _BLOCKS))
                self._stop.wait(_FOLLOW_S)
                state = self._follower.read(lambda store: store.state())
                if state.store_id != source:
                    raise _StoreReplaced
        finally:
            self._clusters = None
            clusters.close()

    def _list(self, clusters: SqliteClusters, source: str, blocks: Iterable[int], after: int = 0) -> None:
        """List the clusters of blocks of sequences that have changed after one of them.

        Raises:
            _StoreReplaced: another store is active.
        """
        rest = iter(blocks)
        while not self._stop.is_set() and (part := list(islice(rest, _BLOCKS))):
            clusters.put(chain.from_iterable(self._changed(source, block, after) for block in part))

    def _changed(self, source: str, block: int, after: int) -> Iterator[Listed]:
        def changed(store: StoreView) -> list[tuple[str, ClusterRecord | None]]:
            if store.state().store_id != source:
                raise _StoreReplaced
            heads = [head for head, sequence in store.clusters.changed_in(block) if sequence > after]
            return list(zip(heads, store.clusters.find_many(heads) if heads else (), strict=True))

        return _listed(self._follower.read(changed))


def _listed(found: Sequence[tuple[str, ClusterRecord | None]]) -> Iterator[Listed]:
    for head, record in found:
        if record is not None:
            yield Listed(head, record.size, record.updated_ms, record.updated_sequence)


def _blocks(first: int, last: int) -> range:
    """The blocks of sequences, both included."""
    return range(first // RECENT_BLOCK, last // RECENT_BLOCK + 1) if first <= last else range(0)


def _blocks_of_load(state: StoreState) -> range:
    """The blocks of the sequences that a load has reserved."""
    reserved = state.reserved
    count = reserved.end_ordinal - reserved.first_ordinal
    return _blocks(reserved.first_sequence, reserved.first_sequence + count - 1)


def _load_of(state: StoreState) -> str:
    """Which load was taken in last, as far as the totals know; empty while one is not."""
    reserved = state.reserved
    return reserved.command_id if reserved.taken and reserved.store_id == state.store_id else ""
