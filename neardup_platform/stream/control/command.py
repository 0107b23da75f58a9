"""What the control topic needs to know about a command: its name, its arguments, who handles it, whether it waits."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Changes
from neardup_platform.stream.control.outcome import Finish
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import CommandArguments

Arguments_contra = TypeVar("Arguments_contra", bound=CommandArguments, contravariant=True)


class Handler(Protocol[Arguments_contra]):
    """Prepares a command; see outcome.py for the two parts of handling."""

    def __call__(self, command: pb.Command, arguments: Arguments_contra, /) -> Finish:
        """Prepare a command.

        Raises:
            NeardupError: the command is refused, for the reason in the text.
        """


@runtime_checkable
class Interruptible(Protocol):
    """A handler whose preparation takes long and ends early when the command is cancelled."""

    def interrupt(self) -> None:
        """Make the preparation that is running raise soon. Returns at once; called from another thread."""


@runtime_checkable
class Reporting(Protocol):
    """A handler whose preparation takes long and can say how far it has come."""

    @property
    def doing(self) -> str:
        """What it does now, in words; empty for nothing. Read from another thread."""


@dataclass(frozen=True, slots=True)
class RegisteredCommand:
    """A command that the worker accepts.

    Attributes:
        name: as on the topic.
        arguments: the model of its arguments.
        handler: called with the command and its arguments.
        prompt: whether it is handled ahead of long commands. Its handler returns at once.
    """

    name: str
    arguments: type[CommandArguments]
    handler: Handler[Any]
    prompt: bool = False


def register(arguments: type[CommandArguments], handler: Handler[Any], *, prompt: bool = False) -> RegisteredCommand:
    """A command under the name that its arguments have."""
    return RegisteredCommand(arguments.command, arguments, handler, prompt)


def put_progress(batch: Changes, command_id: str, progress: store_pb.CommandProgress) -> None:
    """Record how far a command of several stages has come; deleted with its result."""
    batch.put(Table.PROGRESS, command_id.encode(), progress.SerializeToString())
