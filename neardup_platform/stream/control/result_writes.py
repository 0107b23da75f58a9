"""What a commit writes of a control command: its effect, its result, and its position in the topic."""

from collections.abc import Iterable

from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.readers.commands import CommandReader
from neardup_platform.store.writer import Changes
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Done, Stage
from neardup_platform.stream.outbox_entries import ToPublish, decision_messages
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.dead_letters import dead_letters
from neardup_platform.wire.topics import CONTROL_RESULTS, DEAD_LETTER

# Commands whose result is kept. A repeat of an older one is refused for its age, unless this many came in a day.
REMEMBERED = 10_000


def put_handled(batch: Changes, state: store_pb.StoreState, handled: Handled, commands: CommandReader) -> None:
    """Write the result of a command, and forget the oldest one. Its effect follows, because that counts the command.

    Args:
        state: the totals that the commit writes; counts the command.
        commands: handled before.
    """
    for partition, offset in handled.read_to.items():
        read = store_pb.CommandProgress(done=offset)
        batch.put(Table.PROGRESS, layout.commands_read_key(*partition), read.SerializeToString())
    if handled.ahead_of:
        ahead = store_pb.CommandProgress(done=state.commands, of=handled.ahead_of.encode())
        batch.put(Table.PROGRESS, layout.AHEAD_KEY, ahead.SerializeToString())
    if handled.result is not None and not handled.repeated:
        _put_result(batch, state, handled.result, handled.command or pb.Command(), commands)


def _put_result(
    batch: Changes,
    state: store_pb.StoreState,
    result: pb.CommandResult,
    command: pb.Command,
    commands: CommandReader,
) -> None:
    state.commands += 1
    result.sequence = state.sequence
    record = store_pb.CommandRecord(
        number=state.commands, result=result, name=command.name, issued_by=command.issued_by
    )
    command_id = result.command_id.encode()
    if (refused_before := commands.find(result.command_id)) is not None:
        batch.delete(Table.COMMAND_ORDER, layout.number_key(refused_before.number))
    batch.put(Table.COMMANDS, command_id, record.SerializeToString())
    batch.put(Table.COMMAND_ORDER, layout.number_key(state.commands), command_id)
    batch.delete(Table.PROGRESS, command_id)
    forgotten = commands.id_of(state.commands - REMEMBERED) if state.commands > REMEMBERED else None
    if forgotten is not None:
        batch.delete(Table.COMMANDS, forgotten.encode())
        batch.delete(Table.COMMAND_ORDER, layout.number_key(state.commands - REMEMBERED))


def answers(handled: Handled, now_ms: int) -> Iterable[ToPublish]:
    """What is published about a command: dead letters, decisions, its result."""
    if handled.dead is not None:
        for key, letter in dead_letters(handled.message, handled.dead, now_ms):
            yield DEAD_LETTER, key, letter
    if isinstance(handled.outcome, Done | Stage):
        yield from decision_messages(handled.outcome.decisions)
    if handled.result is not None:
        yield CONTROL_RESULTS, handled.result.command_id.encode(), handled.result.SerializeToString(deterministic=True)
