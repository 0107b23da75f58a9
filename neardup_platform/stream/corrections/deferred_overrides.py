"""Overrides that a store does not meet when it replaces the active one, applied when the worker first opens it.

| the store comes from | overrides |
|---|---|
| either | those accepted ahead of the command, which were applied to the store that is replaced |
| a restore | merges and splits that are not met: they are about whole clusters |
| a reprocessing | all that are not met: an image may have been decided before another that its override names |
| either, with a merge that is not met | every `forbid`, because the merge may break it |

A `link` or an `alone` that a restored store does not meet waits: nobody asked for the images of a rollback to move
(docs/adr/0013). The replacing command lists them in the other store. Merges and splits are applied first, and the
others in the order in which they were made.
"""

from collections.abc import Collection, Iterable, Sequence

from neardup_platform.clusters.change import Change
from neardup_platform.clusters.override_terms import Action, is_met
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.steps import RedecideStep

WHOLE_CLUSTERS = (Action.MERGE, Action.SPLIT)


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


def unmet(store: StoreView, overrides: Iterable[store_pb.Override]) -> list[store_pb.Override]:
    """The overrides that the images of a store do not meet."""

    def head_of(image_id: str) -> str | None:
        record = store.images.find(image_id)
        return None if record is None else record.head

    return [override for override in overrides if not is_met(override, head_of)]


def unmet_after_restore(store: StoreView) -> list[str]:
    """Ids of the overrides that a restored store has to meet at once."""
    found = unmet(store, store.overrides.all())
    return _with_forbids(store, [override for override in found if override.action in WHOLE_CLUSTERS])


def unmet_after_reprocess(store: StoreView) -> list[str]:
    """Ids of the overrides that a reprocessed store has to meet at once."""
    return _with_forbids(store, unmet(store, store.overrides.all()))


def _with_forbids(store: StoreView, found: Sequence[store_pb.Override]) -> list[str]:
    if any(override.action == Action.MERGE for override in found):
        found = [*found, *(override for override in store.overrides.all() if override.action == Action.FORBID)]
    return list(dict.fromkeys(override.override_id for override in found))


def defer_overrides(batch: Batch, override_ids: Iterable[str]) -> None:
    """List overrides to apply at the next start."""
    for override_id in override_ids:
        batch.put(Table.PROGRESS, layout.DEFERRED_PREFIX + override_id.encode(), b"")


def deferred_overrides(store: StoreView) -> list[str]:
    """Ids of the overrides to apply, in order; one that was removed meanwhile comes last, to be taken off the list."""
    listed: Collection[str] = dict.fromkeys(store.overrides.deferred())
    active = sorted(store.overrides.all(), key=lambda override: override.action not in WHOLE_CLUSTERS)
    known = [override.override_id for override in active if override.override_id in listed]
    return [*known, *(override_id for override_id in listed if override_id not in set(known))]


def deferred_step(change: Change, override_id: str) -> RedecideStep:
    """The step that applies an override and takes it off the list."""

    def write(batch: Batch, state: store_pb.StoreState) -> None:
        change.write(batch, state)
        batch.delete(Table.PROGRESS, layout.DEFERRED_PREFIX + override_id.encode())

    return RedecideStep(write, change.decisions)
