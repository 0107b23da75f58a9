"""The control topic: commands to the worker, one after the other, each handled once.

Control topic → **validated → prepared in a thread → finished between two steps** → commit → result topic.

The next position of the topic is committed with what a command changed and with its result, never before: a worker
killed while it prepares a command finds it again, one killed after the commit does not. A command whose id was handled
before changes nothing and is answered with the first result again, so a sender that missed it may repeat itself.

The topic is read on while a command is prepared or has parts to come, so that `cancel` is seen: the command that it
names is refused as soon as what it does in its thread is done, or as soon as its turn comes.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from neardup_platform.errors import BadMessage, NeardupError
from neardup_platform.messages import neardup_pb2 as pb
from neardup_platform.messages.codec import Message, decode_command
from neardup_platform.messages.command_bounds import oversized
from neardup_platform.stream.command import BadCommand, Finish, Handled, Handler, Outcome, check_arguments

log = logging.getLogger(__name__)

# An order given so long ago may not be wanted any more; whoever still wants it sends it again.
MAX_AGE_MS = 24 * 3_600_000
# How far the clock of a sender may run ahead.
MAX_AHEAD_MS = 3_600_000
# Commands read and not done with, above which no more are read.
MAX_WAITING = 1_000
CANCEL = "cancel"


class Control:
    """Takes messages of the control topic and hands them back when they are done with.

    Args:
        handlers: what the worker can be told to do, by name.
        earlier: the result of a command that was handled before.
        progress: how far a command of many parts has come.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        earlier: Callable[[str], pb.CommandRecord | None],
        progress: Callable[[str], pb.CommandProgress | None] = lambda _: None,
    ) -> None:
        self._handlers = {**handlers, CANCEL: self._cancel}
        self._earlier = earlier
        self._progress = progress
        self._waiting: deque[Message] = deque()
        self._cancelled: dict[str, str] = {}
        self._preparing: _Preparation | None = None
        self._part = Outcome({})

    def take(self, messages: Iterable[Message]) -> None:
        """Line up what was read, in order of offset."""
        for message in messages:
            self._waiting.append(message)
            self._note_cancel(message)

    @property
    def busy(self) -> bool:
        """Whether there are commands that are not done with."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether so many commands wait that no more should be read for now."""
        return len(self._waiting) >= MAX_WAITING

    @property
    def holds(self) -> bool:
        """Whether no embeddings should be read, because a command needs the store to stand still."""
        return self._part.hold

    @property
    def ready(self) -> bool:
        """Whether `finished` may have something to do; what is being decided must be committed before."""
        return bool(self._waiting) and (self._preparing is None or self._preparing.done)

    def finished(self, now_ms: int) -> Handled | None:
        """The next command that is done with, or a part of it, to be committed and applied before this is called again.

        Args:
            now_ms: the clock, Unix milliseconds.
        """
        if not self._waiting:
            return None
        message = self._waiting[0]
        if self._preparing is None:
            begun = self._begin(message, now_ms)
            if isinstance(begun, Handled):
                return self._done(begun)
            self._preparing = begun
        if not self._preparing.done:
            return None
        command, finish = self._preparing.command, self._preparing.finish
        handled = self._refused_if_cancelled(message, command) or _finished(message, command, finish)
        self._preparing = None
        if handled.is_part:
            return replace(
                handled, outcome=replace(handled.outcome, apply=partial(self._go_on, command, handled.outcome))
            )
        return self._done(handled)

    def _done(self, handled: Handled) -> Handled:
        self._waiting.popleft()
        if handled.result is not None and not handled.result.accepted:
            self._part.abandon()
        self._part = Outcome({})
        if handled.result is not None:
            done = handled.result.command_id
            self._cancelled = {of: by for of, by in self._cancelled.items() if done not in (of, by)}
        return handled

    def _go_on(self, command: pb.Command, part: Outcome) -> None:
        """Begin with the next part, now that this one is written."""
        part.apply()
        self._part = part
        if part.more is not None:
            self._preparing = _Preparation(command, part.more, logging.DEBUG)

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
            handler = self._handler(command, now_ms)
        except BadCommand as error:
            return _refused(message, command, str(error))
        log.info("command %s: %s %s", command.command_id, command.name, dict(command.arguments))
        return self._refused_if_cancelled(message, command) or _Preparation(command, partial(handler, command))

    def _refused_if_cancelled(self, message: Message, command: pb.Command) -> Handled | None:
        by = self._cancelled.get(command.command_id)
        return None if by is None else _refused(message, command, f"cancelled by command {by}")

    def _note_cancel(self, message: Message) -> None:
        with suppress(BadMessage):
            command = decode_command(message)
            if command.name == CANCEL and self._earlier(command.command_id) is None:
                self._cancelled.setdefault(command.arguments.get("command_id", ""), command.command_id)

    def _cancel(self, command: pb.Command) -> Finish:
        """`cancel`: the command of id `command_id` is not done, or no further."""
        cancelled = check_arguments(command, {"command_id"}, set())["command_id"]
        found = self._earlier(cancelled)
        if found is None:
            raise BadCommand(f"command {cancelled[:128]!r} is not waiting, nor was it handled lately")
        if found.result.reason != f"cancelled by command {command.command_id}":
            raise BadCommand(f"command {cancelled!r} was done with before")
        return partial(Outcome, {"cancelled": cancelled})

    def _handler(self, command: pb.Command, now_ms: int) -> Handler:
        if problem := oversized(command):
            raise BadCommand(problem)
        age_ms = now_ms - command.issued_ms
        if command.issued_ms <= 0 or age_ms < -MAX_AHEAD_MS:
            raise BadCommand(f"issued_ms is {command.issued_ms}, the worker's clock says {now_ms}")
        # One of many parts goes on after an outage however long.
        if age_ms > MAX_AGE_MS and self._progress(command.command_id) is None:
            raise BadCommand(
                f"it was issued {age_ms / 3_600_000:.1f} hours ago, at most {MAX_AGE_MS // 3_600_000} are "
                "allowed: send it again under a new id"
            )
        handler = self._handlers.get(command.name)
        if handler is None:
            raise BadCommand(f"{command.name[:80]!r} is no command, one of {sorted(self._handlers)} is expected")
        return handler


class _Preparation:
    """A first half, running in a thread."""

    def __init__(self, command: pb.Command, prepare: Callable[[], Finish], level: int = logging.INFO) -> None:
        self.command = command
        self._level = level
        self.finish: Finish = _unprepared
        self._prepare = prepare
        self.thread = threading.Thread(target=self._run, name=f"command-{command.name}", daemon=True)
        self.thread.start()

    @property
    def done(self) -> bool:
        return not self.thread.is_alive()

    def _run(self) -> None:
        begun = time.monotonic()
        try:
            self.finish = self._prepare()
        except Exception as error:  # noqa: BLE001 -- a command must not end the worker, or it would end each next one
            self.finish = _raiser(error)
        log.log(self._level, "command %s prepared in %.1f s", self.command.command_id, time.monotonic() - begun)


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
    if outcome.more is not None:
        return Handled(message, outcome=outcome)
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
