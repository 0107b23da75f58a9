"""Records the cells that a start finds, if they are others than the store names: from the settings, or after a kill."""

from neardup_platform.store.cells import record_cells, recorded_cells
from neardup_platform.store.writer import Batch, Store


def note_cells(store: Store, version: str, now_ms: int) -> None:
    """Record cells unless they are those recorded last; a store without a decision records none of the term space.

    Args:
        version: of the fitted cells of the index; empty for those of the term space.
    """
    state = store.state()
    if version == recorded_cells(state):
        return
    record_cells(state, version, now_ms)
    batch = Batch()
    batch.put_state(state)
    store.write(batch)
