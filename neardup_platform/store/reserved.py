"""The numbers that a load has reserved, as the totals of a store say. Pure."""

from neardup_platform.store.store_pb2 import StoreState


def reserved_by_load(state: StoreState) -> range:
    """Return the ordinals that the last load has reserved, taken in or not.

    Empty if none was made in this store: a restored store has another id, and may share files with the store that it
    replaced, where these ordinals are images.
    """
    reserved = state.reserved
    return range(reserved.first_ordinal, reserved.end_ordinal) if reserved.store_id == state.store_id else range(0)


def numbers_apart(state: StoreState) -> range:
    """Return the ordinals that are reserved and belong to no image yet."""
    return range(0) if state.reserved.taken else reserved_by_load(state)
