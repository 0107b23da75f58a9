"""The control topic: commands to the worker, each handled once; short ones do not wait for long ones.

Control topic → **validated → prepared in a thread → finished between two steps** → commit → result topic.

The next position of the topic is committed with what a command changed and with its result, never before: a worker
killed while it prepares a command finds it again, one killed after the commit does not. A command whose id was handled
before changes nothing and is answered with the first result again, so a sender that missed it may repeat itself.

Commands are handled in the order of the topic, but *prompt* ones (pause, forget, ...) do not wait for a long one that
is being prepared or has stages to come: they are handled between its stages, ahead of it. The position stays at the
long one meanwhile. A worker that is killed then reads again what was handled ahead, and answers it from its result.
How many may be handled ahead is bounded, because the number of results remembered is.

The age of a command is judged when it is read, so waiting here makes none too old, not even across restarts: up to
which offset commands have been read is part of each commit of a command.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from neardup_platform.errors import BadMessage, NeardupError
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.stream.control.command import (
    BadCommand,
    Finish,
    Handled,
    Handler,
    Interruptible,
    Outcome,
    check_arguments,
)
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message, decode_command
from neardup_platform.wire.command_bounds import oversized

log = logging.getLogger(__name__)

# An order given so long ago may not be wanted any more; whoever still wants it sends it again.
MAX_AGE_MS = 24 * 3_600_000
# How far the clock of a sender may run ahead.
MAX_AHEAD_MS = 3_600_000
# Commands read and not done with, above which no more are read.
MAX_WAITING = 1_000
# Commands read since the oldest one that is not done with, above which no more are read: all of them may have been
# handled ahead of it, and a restart must still know their results (control_commit.REMEMBERED).
MAX_BEHIND = 8_000
CANCEL = "cancel"

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Read:
    """A message of the topic that is not done with.

    Attributes:
        command: None where it is none.
        bad: why it is none.
        read_ms: the clock when it was read; 0 where an earlier worker has read it, in time.
    """

    message: Message
    command: pb.Command | None
    bad: BadMessage | None
    read_ms: int


class Ready:
    """A command, or a stage of one, that can be finished now.

    It is taken first, then what is in flight of the stream is committed, then `finish` is called: so whatever else
    becomes ready meanwhile, and however late, is not finished with steps in flight.
    """

    def __init__(self, finish: Callable[[], Handled]) -> None:
        self._finish: Callable[[], Handled] | None = finish

    def finish(self) -> Handled:
        """What came of it, to be committed and applied before another one is taken. Called once."""
        finish, self._finish = self._finish, None
        if finish is None:
            raise BadCommand("a command was finished twice")
        return finish()


class Control:
    """Takes messages of the control topic and hands them back when they are done with.

    Args:
        handlers: what the worker can be told to do, by name.
        earlier: the result of a command that was handled before.
        progress: how far a command of many stages has come.
        prompt: names of commands that are handled ahead of long ones. Their handlers return at once.
        read_before: up to which offset commands of a partition have been read, and judged by their age, before.
        ahead_of: the id of the command that others were last handled ahead of.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        earlier: Callable[[str], store_pb.CommandRecord | None],
        progress: Callable[[str], store_pb.CommandProgress | None] = lambda _: None,
        prompt: Collection[str] = (),
        read_before: Callable[[Partition], int] = lambda _: 0,
        ahead_of: str = "",
    ) -> None:
        self._handlers = {**handlers, CANCEL: self._cancel}
        self._earlier = earlier
        self._progress = progress
        self._prompt = {*prompt, CANCEL}
        self._read_before = read_before
        self._ahead_of = ahead_of
        self._queue: list[_Read] = []
        self._read_to: dict[Partition, int] = {}
        self._cancelled: dict[str, str] = {}
        self._preparing: _Preparation | None = None
        self._stage = Outcome({})

    def take(self, messages: Iterable[Message], now_ms: int) -> None:
        """Line up what was read, in order of offset.

        Args:
            now_ms: the clock, Unix milliseconds, by which the age of a command is judged.
        """
        for message in messages:
            partition = message.topic, message.partition
            read_ms = 0 if message.offset < self._read_before(partition) else now_ms
            try:
                read = _Read(message, decode_command(message), None, read_ms)
            except BadMessage as error:
                read = _Read(message, None, error, read_ms)
            self._queue.append(read)
            self._read_to[partition] = message.offset + 1
            self._note_cancel(read.command)

    @property
    def busy(self) -> bool:
        """Whether there are commands that are not done with."""
        return bool(self._queue)

    @property
    def waiting(self) -> int:
        """Commands that are not done with."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether so many commands wait, or came since the oldest that does, that no more should be read for now."""
        if not self._queue:
            return False
        oldest = self._queue[0].message
        behind = self._read_to[oldest.topic, oldest.partition] - oldest.offset
        return len(self._queue) >= MAX_WAITING or behind >= MAX_BEHIND

    @property
    def holds(self) -> bool:
        """Whether no embeddings should be read, because a command needs the store to stand still."""
        return self._stage.hold

    def take_ready(self) -> Ready | None:
        """The next command, or stage of one, that can be finished; None where there is none now."""
        if not self._queue:
            return None
        if self._preparing is None:
            begun = self._begin(self._queue[0])
            if not isinstance(begun, _Preparation):
                return Ready(partial(self._done, self._queue[0], begun))
            self._preparing = begun
        if self._preparing.done:
            return Ready(partial(self._finish_stage, self._queue[0], self._preparing))
        return None if self.holds else self._take_ahead(self._queue[0])

    def _take_ahead(self, long: _Read) -> Ready | None:
        """A command that need not wait for a long one."""
        for read in self._queue[1:]:
            if self._may_go_ahead(read):
                begun = self._begin(read)
                if not isinstance(begun, _Preparation):
                    return Ready(partial(self._done, read, begun, long))
        return None

    def _may_go_ahead(self, read: _Read) -> bool:
        command = read.command
        if command is None or command.command_id in self._cancelled or self._earlier(command.command_id) is not None:
            return True
        if command.name == CANCEL:
            # It is answered once the command that it names is refused, which needs no answer to it.
            named = command.arguments.get("command_id", "")
            return all(other.command is None or other.command.command_id != named for other in self._queue)
        return command.name in self._prompt

    def _finish_stage(self, read: _Read, preparation: "_Preparation") -> Handled:
        command, self._preparing = preparation.command, None
        handled = self._refused_if_cancelled(read.message, command) or _finished(
            read.message, command, preparation.finish
        )
        if handled.is_part:
            go_on = partial(self._go_on, command, handled.outcome)
            return replace(handled, outcome=replace(handled.outcome, apply=go_on), read_to=dict(self._read_to))
        if handled.result is not None and not handled.result.accepted:
            self._stage.abandon()
        self._stage = Outcome({})
        return self._leave(read, handled)

    def _done(self, read: _Read, begun: "Handled | _Prompt", long: _Read | None = None) -> Handled:
        handled = begun if isinstance(begun, Handled) else _finished(read.message, begun.command, begun.finish)
        if long is None or long.command is None:
            return self._leave(read, handled)
        first = self._ahead_of != long.command.command_id
        self._ahead_of = long.command.command_id
        return replace(self._leave(read, handled), ahead_of=self._ahead_of if first else "")

    def _leave(self, read: _Read, handled: Handled) -> Handled:
        """Take a message that is done with out of the queue; the position is that of the oldest one that is not."""
        self._queue.remove(read)
        if handled.result is not None:
            done = handled.result.command_id
            self._cancelled = {of: by for of, by in self._cancelled.items() if done not in (of, by)}
        partition = read.message.topic, read.message.partition
        left = (other.message for other in self._queue)
        position = next((m.offset for m in left if (m.topic, m.partition) == partition), self._read_to[partition])
        return replace(handled, position=position, read_to=dict(self._read_to))

    def _go_on(self, command: pb.Command, stage: Outcome) -> None:
        """Begin with the next stage, now that this one is written."""
        stage.apply()
        self._stage = stage
        if stage.more is not None:
            self._preparing = _Preparation(command, stage.more, logging.DEBUG)

    def close(self, timeout_s: float) -> None:
        """Wait a moment for a command that is being prepared; it is begun again by the next worker."""
        if self._preparing is not None:
            self._preparing.thread.join(timeout_s)

    def _begin(self, read: _Read) -> "Handled | _Prompt | _Preparation":
        message, command = read.message, read.command
        if command is None:
            error = read.bad or BadMessage("garbage", "no command")
            log.warning("%s is no command: %s", message.place, error)
            return Handled(message, dead=error)
        earlier = self._earlier(command.command_id)
        if earlier is not None:
            log.info("command %s was handled before, its result is sent again", command.command_id)
            return Handled(message, earlier.result, repeated=True)
        if (cancelled := self._refused_if_cancelled(message, command)) is not None:
            return cancelled
        try:
            handler = self._handler(command, read.read_ms)
            if command.name in self._prompt:
                return _Prompt(command, handler(command))
        except NeardupError as error:
            return _refused(message, command, str(error))
        log.info("command %s: %s %s", command.command_id, command.name, dict(command.arguments))
        return _Preparation(command, partial(handler, command))

    def _refused_if_cancelled(self, message: Message, command: pb.Command) -> Handled | None:
        by = self._cancelled.get(command.command_id)
        return None if by is None else _refused(message, command, f"cancelled by command {by}")

    def _note_cancel(self, command: pb.Command | None) -> None:
        """Cancel at once what can be: a stage that is being prepared is told to end."""
        if command is None or command.name != CANCEL or self._earlier(command.command_id) is not None:
            return
        named = command.arguments.get("command_id", "")
        self._cancelled.setdefault(named, command.command_id)
        if self._preparing is not None and self._preparing.command.command_id == named:
            handler = self._handlers.get(self._preparing.command.name)
            if isinstance(handler, Interruptible):
                handler.interrupt()

    def _cancel(self, command: pb.Command) -> Finish:
        """`cancel`: the command of id `command_id` is not done, or no further."""
        cancelled = check_arguments(command, {"command_id"}, set())["command_id"]
        found = self._earlier(cancelled)
        if found is None:
            raise BadCommand(f"command {cancelled[:128]!r} is not waiting, nor was it handled lately")
        if found.result.reason != f"cancelled by command {command.command_id}":
            raise BadCommand(f"command {cancelled!r} was done with before")
        return partial(Outcome, {"cancelled": cancelled})

    def _handler(self, command: pb.Command, read_ms: int) -> Handler:
        if problem := oversized(command):
            raise BadCommand(problem)
        age_ms = read_ms - command.issued_ms if read_ms else 0
        if command.issued_ms <= 0 or age_ms < -MAX_AHEAD_MS:
            raise BadCommand(f"issued_ms is {command.issued_ms}, the worker's clock says {read_ms}")
        # One of many stages goes on after an outage however long.
        if age_ms > MAX_AGE_MS and self._progress(command.command_id) is None:
            raise BadCommand(
                f"it was issued {age_ms / 3_600_000:.1f} hours ago, at most {MAX_AGE_MS // 3_600_000} are "
                "allowed: send it again under a new id"
            )
        handler = self._handlers.get(command.name)
        if handler is None:
            raise BadCommand(f"{command.name[:80]!r} is no command, one of {sorted(self._handlers)} is expected")
        return handler


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt command whose first half is done."""

    command: pb.Command
    finish: Finish


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
