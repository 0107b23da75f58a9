"""Reads the totals, in the format of this version."""

from neardup_platform.store.layout import Table
from neardup_platform.store.store_pb2 import StoreState
from neardup_platform.store.tables import Tables

_MAX_NAME_CHARACTERS = 200


class StateReader:
    """The totals, versions and digest of a store."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get(self) -> StoreState:
        """Return the totals as this version reads them."""
        return migrated(self.stored())

    def stored(self) -> StoreState:
        """Return the totals as written, possibly in an older format."""
        return StoreState.FromString(self._tables.get(Table.STATE, b"") or b"")


def migrated(state: StoreState) -> StoreState:
    """Return the totals of an older format as this version reads them.

    Before format 3 no image was ever forgotten, so the next ordinal was the number of images. Before format 4 the
    outbox had no known first number, and RECENT had other keys; opening the store for writing rewrites them.
    """
    if state.format == 2:
        state.format, state.ordinals = 3, state.images
    if state.format == 3:
        state.format = 4
        if state.HasField("paused"):
            # It had no limit, and is part of every commit.
            state.paused.by = state.paused.by[:_MAX_NAME_CHARACTERS]
    return state
