"""What a commit writes of a control command: its effect, its result for ever after, its position in the topic."""

from collections.abc import Callable, Iterable

from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.command import Handled
from neardup_platform.wire.dead_letters import dead_letters
from neardup_platform.wire.topics import CONTROL_RESULTS, DEAD_LETTER

# Commands whose id is remembered. A repeat of an older one is refused by its age, unless so many came in a day.
REMEMBERED = 10_000


def put_handled(batch: Batch, state: store_pb.StoreState, handled: Handled, id_of: Callable[[int], str | None]) -> None:
    """Write a command's effect and its result, and forget the oldest; or what a part of one changed.

    Args:
        state: counts the command.
        id_of: the id of the command with a number.
    """
    for partition, offset in handled.read_to.items():
        read = store_pb.CommandProgress(done=offset)
        batch.put(Table.PROGRESS, layout.commands_read_key(*partition), read.SerializeToString())
    if handled.ahead_of:
        ahead = store_pb.CommandProgress(done=state.commands, of=handled.ahead_of.encode())
        batch.put(Table.PROGRESS, layout.AHEAD_KEY, ahead.SerializeToString())
    if handled.is_part:
        handled.outcome.write(batch, state)
    if handled.result is None or handled.repeated:
        return
    state.commands += 1
    handled.result.sequence = state.sequence
    record = store_pb.CommandRecord(number=state.commands, result=handled.result)
    command_id = handled.result.command_id.encode()
    batch.put(Table.COMMANDS, command_id, record.SerializeToString())
    batch.put(Table.COMMAND_ORDER, layout.number_key(state.commands), command_id)
    batch.delete(Table.PROGRESS, command_id)
    forgotten = id_of(state.commands - REMEMBERED) if state.commands > REMEMBERED else None
    if forgotten is not None:
        batch.delete(Table.COMMANDS, forgotten.encode())
        batch.delete(Table.COMMAND_ORDER, layout.number_key(state.commands - REMEMBERED))
    handled.outcome.write(batch, state)


def answers(handled: Handled, now_ms: int) -> Iterable[tuple[str, bytes, bytes]]:
    """Topic, key and value of what is to be said about a command."""
    if handled.dead is not None:
        for key, letter in dead_letters(handled.message, handled.dead, now_ms):
            yield DEAD_LETTER, key, letter
    if not handled.repeated:
        yield from handled.outcome.messages
    if handled.result is not None:
        yield CONTROL_RESULTS, handled.result.command_id.encode(), handled.result.SerializeToString(deterministic=True)
