"""What a control command is made of: how it is prepared, what comes of it, what the commit writes of it.

A handler works in two halves. The first runs in a thread of its own, may take as long as it likes (a download, a model
to load) and must not touch the worker's state. It returns the second, which runs in the worker's loop between two
steps and says what is to be written and then done. Whatever either raises refuses the command.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from neardup_platform.clusters.rocksdb_store import Batch
from neardup_platform.errors import BadMessage, PermanentError
from neardup_platform.messages import neardup_pb2 as pb
from neardup_platform.messages.codec import Message


class BadCommand(PermanentError):
    """A command whose name, arguments or age will not do."""


def _write_nothing(_batch: Batch, _state: pb.StoreState) -> None:
    return


def _do_nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an accepted command changes, and what it reports.

    Attributes:
        values: told to whoever sent it.
        messages: topic, key and value of what is to be published of it, beside the result.
        write: puts its changes into the commit that also has its result; `state.commands` is its number.
        apply: does in memory what was written, once that has succeeded. It must not fail.
    """

    values: Mapping[str, str]
    messages: Sequence[tuple[str, bytes, bytes]] = ()
    write: Callable[[Batch, pb.StoreState], None] = _write_nothing
    apply: Callable[[], None] = _do_nothing


Finish = Callable[[], Outcome]
Handler = Callable[[pb.Command], Finish]


@dataclass(frozen=True, slots=True)
class Handled:
    """A message of the control topic that is done with.

    Attributes:
        result: None for a message that was no command.
        outcome: of an accepted command.
        repeated: the command was handled before; `result` is what came of it then.
        dead: why it was no command.
    """

    message: Message
    result: pb.CommandResult | None = None
    outcome: Outcome = field(default_factory=lambda: Outcome({}))
    repeated: bool = False
    dead: BadMessage | None = None

    @property
    def fate(self) -> str:
        """The counter it belongs to."""
        if self.result is None:
            return "commands_garbage"
        return "commands_repeated" if self.repeated else _FATES[self.result.accepted]


_FATES = {True: "commands_accepted", False: "commands_refused"}


def check_arguments(command: pb.Command, needed: set[str], allowed: set[str]) -> Mapping[str, str]:
    """The arguments of a command, if they are what its handler takes.

    Raises:
        BadCommand: one is missing or unknown.
    """
    found = set(command.arguments)
    if found - needed - allowed or needed - found:
        raise BadCommand(
            f"{command.name} takes the arguments {sorted(needed)} and may take {sorted(allowed)}, "
            f"found {sorted(name[:40] for name in found)[:10]}"
        )
    return command.arguments
