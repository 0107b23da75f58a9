"""What was handled ahead of a command that replaces the store: it acted upon the store that is no more.

Overrides are carried over to the other store, where images may not be where they want them. So the replacing command
lists those laid down ahead of it, and the worker acts upon them again at its first start over that store.
"""

from collections.abc import Iterable

from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch


def overrides_ahead(store: StoreView, command_id: str) -> list[str]:
    """Ids of the active overrides that were added ahead of a command, the oldest first.

    Args:
        store: the one they were laid down in.
        command_id: of the command that is not done with.
    """
    ahead = store.commands.handled_ahead()
    if ahead.of != command_id.encode():
        return []
    records = ((override.override_id, store.commands.find(override.override_id)) for override in store.overrides.all())
    return [override_id for override_id, record in records if record is not None and record.number > ahead.done]


def put_to_meet(batch: Batch, override_ids: Iterable[str]) -> None:
    """List overrides to be acted upon at the next start."""
    for override_id in override_ids:
        batch.put(Table.PROGRESS, layout.DEFERRED_PREFIX + override_id.encode(), b"")


def delete_to_meet(batch: Batch, override_id: str) -> None:
    """Note that an override has been acted upon."""
    batch.delete(Table.PROGRESS, layout.DEFERRED_PREFIX + override_id.encode())
