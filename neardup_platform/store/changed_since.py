"""Which images have changed since a checkpoint of the corpus (image_table/checkpoint.py), according to TOUCHED."""

from neardup_platform.store.store_pb2 import StoreState
from neardup_platform.store.view import StoreView


class NotNoted(Exception):
    """What has changed is not known: the checkpoint does not serve this store. The text says why."""


def changed_since(store: StoreView, state: StoreState, commit: int, ordinals: int) -> list[int]:
    """Return the ordinals of a checkpoint that later commits have changed, ascending.

    Args:
        state: totals of the store.
        commit: the last one in the checkpoint.
        ordinals: of the checkpoint.

    Raises:
        NotNoted: the store is behind the checkpoint, was written to by an earlier version, or changed as a whole.
    """
    if commit > state.commit or ordinals > state.ordinals:
        raise NotNoted(f"the checkpoint is of commit {commit}, the store of commit {state.commit}")
    if state.touched_commit != state.commit:
        raise NotNoted("an earlier version has written to the store")
    changed: set[int] = set()
    for number, touched in store.touched.after(commit):
        if touched.all:
            raise NotNoted(f"commit {number} has changed many images")
        changed.update(touched.ordinals)
    return sorted(ordinal for ordinal in changed if ordinal < ordinals)
