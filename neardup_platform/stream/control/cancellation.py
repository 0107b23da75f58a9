"""`cancel`: a command that waits is refused, and one in progress ends at its next stage, or sooner."""

from functools import partial

from neardup_platform.errors import BadCommand
from neardup_platform.store.readers.commands import CommandReader
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import CancelArguments

CANCEL = CancelArguments.command


class Cancellations:
    """Which waiting commands are cancelled, and the handler of `cancel`.

    A cancellation is recorded when it is read. It is answered once the command that it names is refused.
    """

    def __init__(self, journal: CommandReader) -> None:
        self._journal = journal
        self._cancelled_by: dict[str, str] = {}

    def record(self, command: pb.Command | None) -> str | None:
        """Record a cancellation; returns the id of the command that it names, None where it is none or a repeat."""
        if command is None or command.name != CANCEL or self._journal.find(command.command_id) is not None:
            return None
        named = cancelled_id(command)
        self._cancelled_by.setdefault(named, command.command_id)
        return named

    def by(self, command_id: str) -> str | None:
        """The id of the command that cancels this one."""
        return self._cancelled_by.get(command_id)

    def forget(self, command_id: str) -> None:
        """Drop what a finished command cancels, or was cancelled by."""
        self._cancelled_by = {of: by for of, by in self._cancelled_by.items() if command_id not in (of, by)}

    def __call__(self, command: pb.Command, arguments: CancelArguments) -> Finish:
        """Report that a command is cancelled.

        Raises:
            BadCommand: it was neither waiting nor in progress.
        """
        found = self._journal.find(arguments.command_id)
        if found is None:
            raise BadCommand(f"command {arguments.command_id[:128]!r} is not waiting, and was not handled lately")
        if found.result.reason != reason(command.command_id):
            raise BadCommand(f"command {arguments.command_id!r} was finished before")
        return partial(Done, {"cancelled": arguments.command_id})


def cancelled_id(command: pb.Command) -> str:
    """The id that a `cancel` names; empty where it names none."""
    return str(command.arguments.get("command_id", ""))


def reason(by: str) -> str:
    """Why a cancelled command is refused."""
    return f"cancelled by command {by}"
