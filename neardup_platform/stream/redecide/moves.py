"""What a command that moves images leaves in the store, so that it can be undone as a unit."""

from collections.abc import Mapping, Sequence

from neardup_platform.records import Cause, Decision
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch

# Commands that can be undone: the newest.
KEPT_COMMANDS = 20


def put_moves(
    batch: Batch,
    store: StoreView,
    command_id: str,
    decisions: Sequence[Decision],
    before: Mapping[str, store_pb.ImageRecord],
) -> None:
    """Write the moves of a batch, and forget those of the oldest commands.

    Args:
        decisions: numbered. Handovers follow from the moves, and are not among what is undone.
        before: the records of the images as they were.
    """
    moves = [decision for decision in decisions if decision.cause != Cause.HANDOVER]
    if not moves:
        return
    movers = store.commands.movers()
    if all(mover != command_id for _, mover in movers):
        batch.put(Table.MOVES, layout.mover_key(moves[0].sequence - 1), command_id.encode())
        for sequence, mover in movers[: max(0, len(movers) + 1 - KEPT_COMMANDS)]:
            batch.delete(Table.MOVES, layout.mover_key(sequence))
            batch.clear_id(Table.MOVES, mover)
    for decision in moves:
        record = before[decision.image_id]
        move = store_pb.Move(
            image_id=decision.image_id,
            head_before=record.head,
            sequence_before=record.sequence,
            head_after=decision.head,
        )
        batch.put(Table.MOVES, layout.sequence_key(command_id, decision.sequence), move.SerializeToString())
