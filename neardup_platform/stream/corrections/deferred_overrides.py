"""Overrides accepted ahead of a command that replaces the store: they were applied to the store that is replaced.

The other store takes them over, but its images may not be where they require. So the replacing command lists them in
the other store, and the worker applies them at its first start over it.
"""

from collections.abc import Iterable

from neardup_platform.clusters.change import Change
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.steps import RedecideStep


def overrides_ahead(store: StoreView, command_id: str) -> list[str]:
    """Ids of the active overrides that were added ahead of a command, the oldest first.

    Args:
        store: the one they were added to.
        command_id: of the unfinished command.
    """
    ahead = store.commands.handled_ahead()
    if ahead.of != command_id.encode():
        return []
    records = ((override.override_id, store.commands.find(override.override_id)) for override in store.overrides.all())
    return [override_id for override_id, record in records if record is not None and record.number > ahead.done]


def defer_overrides(batch: Batch, override_ids: Iterable[str]) -> None:
    """List overrides to apply at the next start."""
    for override_id in override_ids:
        batch.put(Table.PROGRESS, layout.DEFERRED_PREFIX + override_id.encode(), b"")


def deferred_step(change: Change, override_id: str) -> RedecideStep:
    """The step that applies an override and takes it off the list."""

    def write(batch: Batch, state: store_pb.StoreState) -> None:
        change.write(batch, state)
        batch.delete(Table.PROGRESS, layout.DEFERRED_PREFIX + override_id.encode())

    return RedecideStep(write, change.decisions)
