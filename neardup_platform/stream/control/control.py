"""The control topic: every command is handled once, in order, and short ones do not wait for long ones.

Control topic → **checked → prepared in a thread → finished between two steps** → commit → result topic.

The next position of the topic is committed together with the change and the result of a command, never before. A worker
that is killed while it prepares a command finds it again; one that is killed after the commit does not. A command whose
id was handled before changes nothing and is answered with its first result, so a sender that missed it may repeat it.
A long command that was refused for what passes, such as S3 not answering, was not handled: sent again under its id, it
is carried out.

Commands are handled in the order of the topic. *Prompt* ones (pause, forget, …) do not wait for a long one that is
being prepared or has stages to come: they are handled ahead of it, between its stages. The position stays at the long
one meanwhile. After a kill the worker reads again what it handled ahead, and answers it from the stored result. How
many may be handled ahead is bounded, because the number of stored results is.

The age of a command is checked when it is read, so no command gets too old by waiting here, not even across restarts:
every commit of a command records the offset up to which commands have been read.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.errors import BadMessage, NeardupError
from neardup_platform.store.readers.commands import CommandReader
from neardup_platform.stream.control.admission import admit
from neardup_platform.stream.control.cancellation import CANCEL, Cancellations, cancelled_id, reason
from neardup_platform.stream.control.command import Interruptible, RegisteredCommand, Reporting, register
from neardup_platform.stream.control.handled import Handled, Partition
from neardup_platform.stream.control.outcome import Finish, Outcome, Stage
from neardup_platform.stream.control.preparation import Preparation
from neardup_platform.stream.control.results import finished, refused
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message, decode_command
from neardup_platform.wire.command_arguments import CancelArguments

log = logging.getLogger(__name__)

# Unfinished commands above which no more are read.
MAX_WAITING = 1_000
# Commands read since the oldest unfinished one, above which no more are read: all of them may have been handled ahead
# of it, and a restart still needs their results (control/result_writes.py, REMEMBERED).
MAX_BEHIND = 8_000


@dataclass(frozen=True, slots=True)
class _Queued:
    """An unfinished message of the topic.

    Attributes:
        command: None where the message is no command.
        bad: why it is none.
        read_ms: the clock when it was read; 0 where an earlier worker read it in time.
    """

    message: Message
    command: pb.Command | None
    bad: BadMessage | None
    read_ms: int

    @property
    def partition(self) -> Partition:
        return self.message.topic, self.message.partition


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A prompt command that is prepared."""

    command: pb.Command
    finish: Finish


class Ready:
    """A command, or a stage of one, that can be finished now.

    The worker takes it, then commits the steps in flight, then calls `finish`. So a command that becomes ready in the
    meantime is never finished with steps in flight.

    Attributes:
        overlaps: whether it may be finished with steps in flight: the stage before it has images that are compared
            meanwhile.
    """

    def __init__(self, finish: Callable[[], Handled], *, overlaps: bool = False) -> None:
        self._finish: Callable[[], Handled] | None = finish
        self.overlaps = overlaps

    def finish(self) -> Handled:
        """What came of it, to be committed and applied before the next one is taken. Called once."""
        finish, self._finish = self._finish, None
        if finish is None:
            raise RuntimeError("a command was finished twice")
        return finish()


class Control:
    """Takes messages of the control topic and returns them once they are finished.

    Args:
        commands: those the worker accepts, beside `cancel`.
        journal: what the store knows of commands handled before.
    """

    def __init__(self, commands: Iterable[RegisteredCommand], journal: CommandReader, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self._cancellations = Cancellations(journal)
        cancel = register(CancelArguments, self._cancellations, prompt=True)
        self._commands = {command.name: command for command in (*commands, cancel)}
        # The long command that others were last handled ahead of.
        self._ahead_of = journal.handled_ahead().of.decode()
        self._queue: list[_Queued] = []
        self._read_to: dict[Partition, int] = {}
        self._preparation: Preparation | None = None
        self._stage: Stage | None = None

    def take(self, messages: Iterable[Message]) -> None:
        """Queue messages, in order of offset."""
        now_ms = self._clock.now_ms()
        for message in messages:
            partition = message.topic, message.partition
            read_ms = 0 if message.offset < self._journal.read_offset(partition) else now_ms
            try:
                queued = _Queued(message, decode_command(message), None, read_ms)
            except BadMessage as error:
                queued = _Queued(message, None, error, read_ms)
            self._queue.append(queued)
            self._read_to[partition] = message.offset + 1
            self._interrupt(self._cancellations.record(queued.command))

    @property
    def busy(self) -> bool:
        """Whether there are unfinished commands."""
        return bool(self._queue)

    @property
    def waiting(self) -> int:
        """Unfinished commands."""
        return len(self._queue)

    @property
    def doing(self) -> str:
        """What the command that is being prepared does now, in words; empty where it does not say."""
        if self._preparation is None:
            return ""
        command = self._preparation.command
        found = self._commands.get(command.name)
        doing = found.handler.doing if found is not None and isinstance(found.handler, Reporting) else ""
        return f"{command.name}: {doing}" if doing else ""

    @property
    def full(self) -> bool:
        """Whether no more commands should be read for now: too many wait, or came since the oldest that waits."""
        if not self._queue:
            return False
        oldest = self._queue[0]
        behind = self._read_to[oldest.partition] - oldest.message.offset
        return len(self._queue) >= MAX_WAITING or behind >= MAX_BEHIND

    @property
    def holds(self) -> bool:
        """Whether no embeddings should be read, because a command needs the store to stand still."""
        return self._stage is not None and self._stage.hold

    @property
    def decides(self) -> bool:
        """Whether a command that decides images prepares its next stage."""
        return self._stage is not None and self._stage.images is not None

    def decides_within(self, seconds: float) -> bool:
        """Wait a moment for the next stage of a command that decides images; whether it can be finished now."""
        if self._preparation is None or not self.decides:
            return False
        self._preparation.join(seconds)
        return self._preparation.done

    def take_ready(self) -> Ready | None:
        """The next command, or stage of one, that can be finished now; None where there is none."""
        if not self._queue:
            return None
        first = self._queue[0]
        if self._preparation is None:
            begun = self._begin(first)
            if not isinstance(begun, Preparation):
                return Ready(partial(self._complete, first, begun))
            self._preparation = begun
        if self._preparation.done:
            return Ready(partial(self._finish_stage, first, self._preparation), overlaps=self.decides)
        return None if self.holds else self._take_ahead(first)

    def start_next(self, stage: Stage) -> None:
        """Prepare the stage that follows one that is committed, or whose images are in flight."""
        command = self._queue[0].command
        if command is not None:
            self._stage = stage
            self._preparation = Preparation.of_stage(command, stage, self._clock)

    def close(self, timeout_s: float) -> None:
        """Wait a moment for the command that is being prepared; the next worker starts it again."""
        if self._preparation is not None:
            self._preparation.join(timeout_s)

    def _take_ahead(self, long: _Queued) -> Ready | None:
        """A command that need not wait for a long one."""
        for queued in self._queue[1:]:
            if self._may_go_ahead(queued):
                begun = self._begin(queued)
                if not isinstance(begun, Preparation):
                    return Ready(partial(self._complete, queued, begun, long))
        return None

    def _may_go_ahead(self, queued: _Queued) -> bool:
        command = queued.command
        if command is None or self._cancellations.by(command.command_id) or self._journal.final(command.command_id):
            return True
        if command.name == CANCEL:
            # It is answered once the command that it names is refused, which does not wait for the answer.
            named = cancelled_id(command)
            return all(other.command is None or other.command.command_id != named for other in self._queue)
        found = self._commands.get(command.name)
        return found is not None and found.prompt

    def _begin(self, queued: _Queued) -> Handled | _Prepared | Preparation:
        message, command = queued.message, queued.command
        if command is None:
            error = queued.bad or BadMessage("garbage", "no command")
            log.warning("%s is no command: %s", message.place, error)
            return Handled(message, dead=error)
        earlier = self._journal.final(command.command_id)
        if earlier is not None:
            log.info("command %s was handled before, its result is sent again", command.command_id)
            return Handled(message, earlier.result, repeated=True)
        if (cancelled := self._refused_if_cancelled(message, command)) is not None:
            return cancelled
        try:
            started = self._journal.progress(command.command_id) is not None
            found, arguments = admit(command, self._commands, queued.read_ms, started=started)
            if found.prompt:
                return _Prepared(command, found.handler(command, arguments))
        except NeardupError as error:
            return refused(message, command, str(error), self._clock)
        log.info("command %s: %s %s", command.command_id, command.name, dict(command.arguments))
        return Preparation(command, partial(found.handler, command, arguments), self._clock)

    def _finish_stage(self, queued: _Queued, preparation: Preparation) -> Handled:
        command, self._preparation = preparation.command, None
        handled = self._refused_if_cancelled(queued.message, command)
        if handled is None:
            handled = finished(queued.message, command, partial(_finish, preparation), self._clock, may_pass=True)
        if handled.is_stage:
            return replace(handled, read_to=dict(self._read_to))
        if self._stage is not None and handled.result is not None and not handled.result.accepted:
            self._stage.abandon()
        self._stage = None
        return self._leave(queued, handled)

    def _complete(self, queued: _Queued, begun: Handled | _Prepared, long: _Queued | None = None) -> Handled:
        """Finish a command that needs no preparation.

        Args:
            long: the command that it is handled ahead of.
        """
        if isinstance(begun, _Prepared):
            begun = finished(queued.message, begun.command, begun.finish, self._clock)
        handled = self._leave(queued, begun)
        if long is None or long.command is None:
            return handled
        first = self._ahead_of != long.command.command_id
        self._ahead_of = long.command.command_id
        return replace(handled, ahead_of=self._ahead_of if first else "")

    def _leave(self, queued: _Queued, handled: Handled) -> Handled:
        """Take a finished message out of the queue; the position is that of the oldest unfinished one."""
        self._queue.remove(queued)
        if handled.result is not None:
            self._cancellations.forget(handled.result.command_id)
        partition = queued.partition
        left = (other.message.offset for other in self._queue if other.partition == partition)
        position = next(left, self._read_to[partition])
        return replace(handled, position=position, read_to=dict(self._read_to))

    def _refused_if_cancelled(self, message: Message, command: pb.Command) -> Handled | None:
        by = self._cancellations.by(command.command_id)
        return None if by is None else refused(message, command, reason(by), self._clock)

    def _interrupt(self, command_id: str | None) -> None:
        """End the preparation that is running, if it is of this command."""
        if self._preparation is None or self._preparation.command.command_id != command_id:
            return
        found = self._commands.get(self._preparation.command.name)
        if found is not None and isinstance(found.handler, Interruptible):
            found.handler.interrupt()


def _finish(preparation: Preparation) -> Outcome:
    return preparation.finish()()
