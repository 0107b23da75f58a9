"""The control topic: commands to the worker, one after the other, each handled once.

Control topic → **validated → prepared in a thread → finished between two steps** → commit → result topic.

The next position of the topic is committed with what a command changed and with its result, never before: a worker
killed while it prepares a command finds it again, one killed after the commit does not. A command whose id was handled
before changes nothing and is answered with the first result again, so a sender that missed it may repeat itself.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from neardup_platform.errors import BadMessage, NeardupError
from neardup_platform.messages import neardup_pb2 as pb
from neardup_platform.messages.codec import Message, decode_command
from neardup_platform.stream.command import BadCommand, Finish, Handled, Handler, Outcome

log = logging.getLogger(__name__)

# An order given so long ago may not be wanted any more; whoever still wants it sends it again.
MAX_AGE_MS = 24 * 3_600_000
# How far the clock of a sender may run ahead.
MAX_AHEAD_MS = 3_600_000


class Control:
    """Takes messages of the control topic and hands them back when they are done with.

    Args:
        handlers: what the worker can be told to do, by name.
        earlier: the result of a command that was handled before.
    """

    def __init__(self, handlers: Mapping[str, Handler], earlier: Callable[[str], pb.CommandRecord | None]) -> None:
        self._handlers = handlers
        self._earlier = earlier
        self._waiting: deque[Message] = deque()
        self._preparing: _Preparation | None = None

    def take(self, messages: Iterable[Message]) -> None:
        """Line up what was read, in order of offset."""
        self._waiting.extend(messages)

    @property
    def busy(self) -> bool:
        """Whether there are commands that are not done with; then no more need be read."""
        return bool(self._waiting)

    @property
    def ready(self) -> bool:
        """Whether `finished` may have something to do; what is being decided must be committed before."""
        return bool(self._waiting) and (self._preparing is None or self._preparing.done)

    def finished(self, now_ms: int) -> Handled | None:
        """The next command that is done with, to be committed before this is called again.

        Args:
            now_ms: the clock, Unix milliseconds.
        """
        if not self._waiting:
            return None
        message = self._waiting[0]
        if self._preparing is None:
            begun = self._begin(message, now_ms)
            if isinstance(begun, Handled):
                self._waiting.popleft()
                return begun
            self._preparing = begun
        if not self._preparing.done:
            return None
        command, finish = self._preparing.command, self._preparing.finish
        self._waiting.popleft()
        self._preparing = None
        return _finished(message, command, finish)

    def close(self, timeout_s: float) -> None:
        """Wait a moment for a command that is being prepared; it is begun anew by the next worker."""
        if self._preparing is not None:
            self._preparing.thread.join(timeout_s)

    def _begin(self, message: Message, now_ms: int) -> "Handled | _Preparation":
        try:
            command = decode_command(message)
        except BadMessage as error:
            log.warning("%s is no command: %s", message.place, error)
            return Handled(message, dead=error)
        earlier = self._earlier(command.command_id)
        if earlier is not None:
            log.info("command %s was handled before, its result is sent again", command.command_id)
            return Handled(message, earlier.result, repeated=True)
        try:
            return _Preparation(command, self._handler(command, now_ms))
        except BadCommand as error:
            return _refused(message, command, str(error))

    def _handler(self, command: pb.Command, now_ms: int) -> Handler:
        age_ms = now_ms - command.issued_ms
        if command.issued_ms <= 0 or age_ms < -MAX_AHEAD_MS:
            raise BadCommand(f"issued_ms is {command.issued_ms}, the worker's clock says {now_ms}")
        if age_ms > MAX_AGE_MS:
            raise BadCommand(
                f"it was issued {age_ms / 3_600_000:.1f} hours ago, at most {MAX_AGE_MS // 3_600_000} are "
                "allowed: send it again under a new id"
            )
        handler = self._handlers.get(command.name)
        if handler is None:
            raise BadCommand(f"{command.name[:80]!r} is no command, one of {sorted(self._handlers)} is expected")
        return handler


class _Preparation:
    """The first half of a handler, running in a thread."""

    def __init__(self, command: pb.Command, handler: Handler) -> None:
        self.command = command
        self.finish: Finish = _unprepared
        self._handler = handler
        self.thread = threading.Thread(target=self._run, name=f"command-{command.name}", daemon=True)
        self.thread.start()

    @property
    def done(self) -> bool:
        return not self.thread.is_alive()

    def _run(self) -> None:
        log.info("command %s: %s %s", self.command.command_id, self.command.name, dict(self.command.arguments))
        begun = time.monotonic()
        try:
            self.finish = self._handler(self.command)
        except Exception as error:  # noqa: BLE001 -- a command must not end the worker, or it would end each next one
            self.finish = _raiser(error)
        log.info("command %s prepared in %.1f s", self.command.command_id, time.monotonic() - begun)


def _unprepared() -> Outcome:
    raise BadCommand("it could not be prepared")


def _raiser(error: Exception) -> Finish:
    def finish() -> Outcome:
        raise error

    return finish


def _finished(message: Message, command: pb.Command, finish: Finish) -> Handled:
    try:
        outcome = finish()
    except NeardupError as error:
        return _refused(message, command, str(error))
    except Exception as error:
        log.exception("command %s failed", command.command_id)
        return _refused(message, command, f"{type(error).__name__}: {error}")
    return Handled(message, _result(command, accepted=True, values=outcome.values), outcome)


def _refused(message: Message, command: pb.Command, reason: str) -> Handled:
    log.warning("command %s refused: %s", command.command_id, reason)
    return Handled(message, _result(command, accepted=False, reason=" ".join(reason.split())[:2_000]))


def _result(
    command: pb.Command, *, accepted: bool, reason: str = "", values: Mapping[str, str] | None = None
) -> pb.CommandResult:
    return pb.CommandResult(
        command_id=command.command_id,
        accepted=accepted,
        reason=reason,
        values=values or {},
        finished_ms=time.time_ns() // 1_000_000,
    )
