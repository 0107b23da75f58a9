"""The result of a command: what it changed, or why it was refused."""

import logging
from collections.abc import Mapping

from neardup_platform.clock import Clock
from neardup_platform.errors import NeardupError, RetryableError, SetupError
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Finish, Stage
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message

log = logging.getLogger(__name__)

_MAX_REASON_CHARACTERS = 2_000
# A server that does not answer, and what this machine lacks, such as disk: the same command may succeed later.
_PASSES = (RetryableError, SetupError)


def finished(message: Message, command: pb.Command, finish: Finish, clock: Clock, *, may_pass: bool = False) -> Handled:
    """Finish a prepared command; any error refuses it, because it must not end the worker.

    Args:
        may_pass: whether an error that may pass refuses it temporarily. Not for a prompt command: a worker that was
            killed reads what it handled ahead again, and only answers it.
    """
    try:
        outcome = finish()
    except NeardupError as error:
        return refused(message, command, str(error), clock, temporary=may_pass and isinstance(error, _PASSES))
    except Exception as error:
        log.exception("command %s failed", command.command_id)
        return refused(message, command, f"{type(error).__name__}: {error}", clock)
    if isinstance(outcome, Stage):
        return Handled(message, outcome=outcome)
    return Handled(message, _result(command, clock, accepted=True, values=outcome.values), outcome, command=command)


def refused(message: Message, command: pb.Command, reason: str, clock: Clock, *, temporary: bool = False) -> Handled:
    """A command that is not carried out; if only temporarily, it is carried out when it is sent again."""
    log.warning("command %s refused%s: %s", command.command_id, " for now" if temporary else "", reason)
    text = " ".join(reason.split())[:_MAX_REASON_CHARACTERS]
    result = _result(command, clock, accepted=False, reason=text)
    result.temporary = temporary
    return Handled(message, result, command=command)


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
