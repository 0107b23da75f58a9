"""Which cells the term index was sorted by, and from which decision on: part of the totals of a store. Pure.

Cells determine which images a new one is compared with. So two decisions about the same images may differ if other
cells were active, and this record tells when.
"""

from neardup_platform.store.store_pb2 import StoreState

# Images of the store, as a multiple of those at the last exchange, at which cells are fitted again.
GROWTH = 4
# Cells are exchanged at each fourfold growth, or by an operator.
_MOST_KEPT = 10


def recorded_cells(state: StoreState) -> str:
    """Return the version of the fitted cells recorded last; empty for those of the term space."""
    return state.cells[-1].version if state.cells else ""


def cells_are_due(state: StoreState, least: int) -> bool:
    """Return whether new cells should be fitted to the store.

    An operator who has chosen the cells of the term space is left alone until the next growth; a start that has lost
    its cells is not.

    Args:
        least: images from which on a store has fitted cells; 0 for never.
    """
    last = state.cells[-1] if state.cells else None
    chosen = last is not None and bool(last.version or last.command_id)
    return least > 0 and state.images >= max(least, GROWTH * last.images if last is not None and chosen else 0)


def record_cells(state: StoreState, version: str, at_ms: int, command_id: str = "", issued_by: str = "") -> None:
    """Record other cells, active from the next decision on.

    Args:
        version: of fitted cells; empty for those of the term space.
        at_ms: Unix milliseconds.
        command_id, issued_by: of the command that exchanged them; empty where a start found them.
    """
    del state.cells[: max(0, len(state.cells) - _MOST_KEPT + 1)]
    state.cells.add(
        version=version,
        after_sequence=state.sequence,
        at_ms=at_ms,
        images=state.images,
        command_id=command_id,
        issued_by=issued_by,
    )
