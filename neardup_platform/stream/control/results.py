"""The result of a command: what it changed, or why it was refused."""

import logging
from collections.abc import Mapping

from neardup_platform.clock import Clock
from neardup_platform.errors import NeardupError
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Finish, Stage
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message

log = logging.getLogger(__name__)

_MAX_REASON_CHARACTERS = 2_000


def finished(message: Message, command: pb.Command, finish: Finish, clock: Clock) -> Handled:
    """Finish a prepared command; any error refuses it, because it must not end the worker."""
    try:
        outcome = finish()
    except NeardupError as error:
        return refused(message, command, str(error), clock)
    except Exception as error:
        log.exception("command %s failed", command.command_id)
        return refused(message, command, f"{type(error).__name__}: {error}", clock)
    if isinstance(outcome, Stage):
        return Handled(message, outcome=outcome)
    return Handled(message, _result(command, clock, accepted=True, values=outcome.values), outcome, command=command)


def refused(message: Message, command: pb.Command, reason: str, clock: Clock) -> Handled:
    """A command that is not carried out."""
    log.warning("command %s refused: %s", command.command_id, reason)
    text = " ".join(reason.split())[:_MAX_REASON_CHARACTERS]
    return Handled(message, _result(command, clock, accepted=False, reason=text), command=command)


def _result(
    command: pb.Command, clock: Clock, *, accepted: bool, reason: str = "", values: Mapping[str, str] | None = None
) -> pb.CommandResult:
    return pb.CommandResult(
        command_id=command.command_id,
        accepted=accepted,
        reason=reason,
        values=values or {},
        finished_ms=clock.now_ms(),
    )
