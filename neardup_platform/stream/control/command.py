"""What a control command is made of: how it is prepared, what comes of it, what the commit writes of it.

A handler works in two halves. The first runs in a thread of its own, may take as long as it likes (a download, a model
to load) and must not touch the worker's state. It returns the second, which runs in the worker's loop between two
steps and says what is to be written and then done. Whatever either raises refuses the command.

A command of many stages repeats this: the outcome of a stage names the first half of the next one. Each stage is a
commit of its own, with steps of the stream and prompt commands in between; the last one has the result and lets the
position of the control topic go on. So a worker that is killed begins such a command again, and finds in the store how
far it had come (`put_progress`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from neardup_platform.errors import BadMessage, PermanentError
from neardup_platform.pipeline import Decided
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message


class BadCommand(PermanentError):
    """A command whose name, arguments or age will not do."""


def _write_nothing(_batch: Batch, _state: store_pb.StoreState) -> None:
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
        decided: images decided by it, for the commit.
        counts: by how much counters of the store grow.
        more: the first half of what follows; then this is a part, and has no result.
        into: the store to commit to, with its totals, instead of the one in force.
        hold: of a part: no embeddings are read and no other command is handled until the next one.
        abandon: of a part: cleans up where the command ends before its next one.
    """

    values: Mapping[str, str]
    messages: Sequence[tuple[str, bytes, bytes]] = ()
    write: Callable[[Batch, store_pb.StoreState], None] = _write_nothing
    apply: Callable[[], None] = _do_nothing
    decided: Sequence[Decided] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    more: "Callable[[], Finish] | None" = None
    into: tuple[Store, store_pb.StoreState] | None = None
    hold: bool = False
    abandon: Callable[[], None] = _do_nothing


Finish = Callable[[], Outcome]
Handler = Callable[[pb.Command], Finish]


@runtime_checkable
class Interruptible(Protocol):
    """A handler whose first halves take long and can be told to end because the command is cancelled."""

    def interrupt(self) -> None:
        """Let the first half that is running raise soon. Returns at once; called from another thread."""


@dataclass(frozen=True, slots=True)
class Handled:
    """A message of the control topic that is done with, or a part of a command.

    Attributes:
        result: None for a part, and for a message that was no command.
        outcome: of an accepted command.
        repeated: the command was handled before; `result` is what came of it then.
        dead: why it was no command.
        position: what the commit writes as the next offset of the control topic; None: the one after this message.
        read_to: by partition, up to which offset commands have been read, and judged by their age.
        ahead_of: the id of the long command that this one, as the first, was handled ahead of.
    """

    message: Message
    result: pb.CommandResult | None = None
    outcome: Outcome = field(default_factory=lambda: Outcome({}))
    repeated: bool = False
    dead: BadMessage | None = None
    position: int | None = None
    read_to: Mapping[tuple[str, int], int] = field(default_factory=dict)
    ahead_of: str = ""

    @property
    def is_part(self) -> bool:
        """Whether more of the command follows."""
        return self.outcome.more is not None

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """What the commit writes as the next position of the control topic; nothing of a part."""
        message = self.message
        position = message.offset + 1 if self.position is None else self.position
        return {} if self.is_part else {(message.topic, message.partition): position}

    @property
    def counts(self) -> dict[str, int]:
        """By how much counters of the store grow."""
        return dict(self.outcome.counts) if self.is_part else {**self.outcome.counts, self._fate: 1}

    @property
    def _fate(self) -> str:
        if self.result is None:
            return "commands_garbage"
        return "commands_repeated" if self.repeated else _FATES[self.result.accepted]


_FATES = {True: "commands_accepted", False: "commands_refused"}


def put_progress(batch: Batch, command_id: str, progress: store_pb.CommandProgress) -> None:
    """Note how far a command of many parts has come; forgotten with its result."""
    batch.put(Table.PROGRESS, command_id.encode(), progress.SerializeToString())


def flag(arguments: Mapping[str, str], name: str) -> bool:
    """An argument that is `true` or `false`, which is what it is where it is missing.

    Raises:
        BadCommand: it is something else.
    """
    value = arguments.get(name, "false")
    if value not in ("true", "false"):
        raise BadCommand(f"{name} is {value[:40]!r}, `true` or `false` is expected")
    return value == "true"


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
