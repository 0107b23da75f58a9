"""Which commands are carried out: known, in time, within the bounds, with the right arguments. Pure."""

from collections.abc import Mapping

from neardup_platform.errors import BadCommand
from neardup_platform.stream.control.command import RegisteredCommand
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import CommandArguments
from neardup_platform.wire.command_bounds import oversized

# The caller may no longer want a command issued this long ago; they can send it again.
MAX_AGE_MS = 24 * 3_600_000
# How far the clock of a sender may run ahead.
MAX_AHEAD_MS = 3_600_000


def admit(
    command: pb.Command, commands: Mapping[str, RegisteredCommand], read_ms: int, *, started: bool
) -> tuple[RegisteredCommand, CommandArguments]:
    """Find the handler of a command and read its arguments.

    Args:
        read_ms: the clock when the command was read, Unix milliseconds; 0 where an earlier worker read it in time.
        started: whether it has finished a stage; then it continues, however old it is.

    Raises:
        BadCommand: it is not carried out.
    """
    if problem := oversized(command):
        raise BadCommand(problem)
    age_ms = read_ms - command.issued_ms if read_ms else 0
    if command.issued_ms <= 0 or age_ms < -MAX_AHEAD_MS:
        raise BadCommand(f"issued_ms is {command.issued_ms}, the worker's clock says {read_ms}")
    if age_ms > MAX_AGE_MS and not started:
        raise BadCommand(
            f"it was issued {age_ms / 3_600_000:.1f} hours ago, at most {MAX_AGE_MS // 3_600_000} are "
            "allowed: send it again under a new id"
        )
    found = commands.get(command.name)
    if found is None:
        raise BadCommand(f"{command.name[:80]!r} is no command, one of {sorted(commands)} is expected")
    return found, found.arguments.parse(command.arguments)
