"""Whether decisions are published: the shadow of a store, part of its totals. Pure.

In shadow the worker decides and stores as always, and what consumers read of it stays unpublished, because they follow
another pipeline (stream/handover/). The outbox asks `in_shadow` of the totals that a write leaves behind, so a decision
is published or withheld by the same write that makes it.
"""

from neardup_platform.store.store_pb2 import Shadow, StoreState

# Each takes an operator's command to end; coverage needs those of the hours that it may be asked about.
_MOST_KEPT = 10


def current_shadow(state: StoreState) -> Shadow | None:
    """The shadow that lasts; None while decisions are published."""
    return state.shadows[-1] if state.shadows and not state.shadows[-1].until_ms else None


def begin_shadow(state: StoreState, at_ms: int, by: str = "", command_id: str = "") -> None:
    """Withhold decisions from now on; the totals must not be in shadow.

    Args:
        at_ms: Unix milliseconds.
        by: who said so; empty for the settings.
    """
    del state.shadows[: max(0, len(state.shadows) - _MOST_KEPT + 1)]
    state.shadows.add(by=by, since_ms=at_ms, command_id=command_id, after_sequence=state.sequence)


def end_shadow(state: StoreState, at_ms: int, by: str, command_id: str, reason: str = "") -> None:
    """Publish decisions from the next one on; the totals must be in shadow."""
    shadow = state.shadows[-1]
    shadow.until_ms, shadow.ended_by, shadow.ended_command_id = at_ms, by, command_id
    shadow.until_sequence, shadow.reason = state.sequence, reason


def keep_shadows(present: StoreState, restored: StoreState) -> None:
    """Decide whether a restored store is in shadow.

    An operator's command to the present store counts. Without one, the store was created on this machine by its
    settings and the snapshot comes from elsewhere: then the snapshot counts, if it records any shadow.
    """
    said_here = any(shadow.command_id or shadow.ended_command_id for shadow in present.shadows)
    if said_here or not restored.shadows:
        del restored.shadows[:]
        restored.shadows.extend(present.shadows)
