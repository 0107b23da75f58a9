"""A small worker that carries out commands: store, corpus and control topic, without Kafka, killed at will."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from neardup_platform.clock import ManualClock
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import JoinedImage
from neardup_platform.store.swap import complete_swap
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.control.command import Handler, RegisteredCommand
from neardup_platform.stream.control.control import Control
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Done, ReplaceStore, Stage
from neardup_platform.stream.steps import CommandStep
from neardup_platform.testing import InMemoryWorker
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message
from neardup_platform.wire.command_arguments import CommandArguments
from neardup_platform.wire.topics import CONTROL, CONTROL_RESULTS

NOW_MS = 1_700_000_000_000
_PATIENCE_S = 180.0

Commands = Callable[["ControlMachine"], Sequence[RegisteredCommand]]


class AnyArguments(CommandArguments):
    """Arguments of the commands that tests make up."""

    command = "any"
    text: str = ""
    fails_at: str = ""


def made_up(name: str, handler: Handler[AnyArguments]) -> RegisteredCommand:
    """A long command that only a test knows."""
    return RegisteredCommand(name, AnyArguments, handler)


class Killed(BaseException):
    """Stands for `kill -9`: nothing in memory is of use any more."""


class Machines:
    """Workers over one home, one after the other, that share a control topic.

    Args:
        give_up: closes what a handler of an earlier worker left open; a kill leaves nothing open.
    """

    def __init__(self, home: Path, give_up: Callable[["ControlMachine"], None] = lambda _: None) -> None:
        self._home, self._give_up = home, give_up
        self._made: list[ControlMachine] = []
        self._log: list[bytes] = []

    def start(self, commands: "Commands", *sent: bytes, kill_at: str = "") -> "ControlMachine":
        """The next worker, with more commands in the topic."""
        self.end()
        self._log.extend(sent)
        self._made.append(ControlMachine(self._home, self._log, commands, kill_at))
        return self._made[-1]

    def end(self) -> None:
        for earlier in self._made:
            self._give_up(earlier)
            with suppress(Exception):
                earlier.close()
        self._made.clear()


class ControlMachine:
    """The worker's loop, step by step; over one home, one after the other, as processes.

    Args:
        log: the control topic, which outlives the worker.
        commands: made for this worker.
        kill_at: raises `Killed` at this crash point, the first time it is passed: prepared, stage_committed:2,
            command_committed.
    """

    def __init__(self, home: Path, log: list[bytes], commands: "Commands", kill_at: str = "") -> None:
        self.clock = ManualClock(NOW_MS)
        complete_swap(home / "store")
        self.worker = InMemoryWorker(home, clock=self.clock)
        self.log = log
        self.replaced = False
        self.commands = {registered.name: registered for registered in commands(self)}
        self.control = Control(self.commands.values(), self.store.commands, self.clock)
        self._next = self.store.positions.next_offsets().get((CONTROL, 0), 0)
        self.kill_at(kill_at)

    def kill_at(self, point: str) -> None:
        """Die when this crash point is passed next."""
        self._point, _, times = point.partition(":")
        self._times = int(times or 1)

    @property
    def store(self) -> Store:
        return self.worker.store

    @property
    def pipeline(self) -> Pipeline:
        return self.worker.pipeline

    def decide(self, images: list[JoinedImage]) -> None:
        """A step of the stream."""
        self.worker.decide(images)

    def turn(self) -> list[Handled]:
        """What the worker's loop does with commands in one turn."""
        read = [Message(CONTROL, 0, n, b"key", self.log[n]) for n in range(self._next, len(self.log))]
        self.control.take(read)
        self._next = len(self.log)
        done = []
        while (ready := self.control.take_ready()) is not None:
            handled = ready.finish()
            self._passing("prepared")
            done.append(handled)
            self._carry_out(handled)
            if handled.is_stage or self.replaced:
                break
        return done

    def _carry_out(self, handled: Handled) -> None:
        outcome, now_ms = handled.outcome, self.clock.now_ms()
        if isinstance(outcome, Stage) and outcome.images is not None:
            handled = handled.with_decided(self.worker.decide_uncommitted(outcome.images, now_ms))
        if isinstance(outcome, ReplaceStore):
            commit(outcome.store, outcome.state, CommandStep(handled), now_ms)
            self._passing("command_committed")
            outcome.swap()
            self.replaced = True
            return
        commit(self.store, self.store.state(), CommandStep(handled), now_ms)
        self._passing("stage_committed" if handled.is_stage else "command_committed")
        if isinstance(outcome, Done | Stage):
            outcome.apply()
            self.worker.corpus.erase_dropped()
        if isinstance(outcome, Stage):
            self.control.start_next(outcome)

    def run(self, between: Callable[[], None] = lambda: None) -> list[pb.CommandResult]:
        """Turn until no command is left, or the store is replaced; `between` is what the stream does after a stage."""
        results = []
        deadline = time.monotonic() + _PATIENCE_S
        while not self.replaced and (self.control.busy or self._next < len(self.log)):
            assert time.monotonic() < deadline
            for handled in self.turn():
                if handled.is_stage:
                    between()
                elif handled.result is not None:
                    results.append(handled.result)
            time.sleep(0.001)
        return results

    def run_until_replaced(self, between: Callable[[], None] = lambda: None) -> None:
        """Turn until a command has replaced the store."""
        self.run(between)
        assert self.replaced

    def _passing(self, point: str) -> None:
        if point == self._point:
            self._times -= 1
            if self._times == 0:
                raise Killed

    def published(self) -> list[pb.CommandResult]:
        """Results in the outbox, which is not emptied here."""
        return [
            pb.CommandResult.FromString(e.value) for _, e in self.store.outbox.pending() if e.topic == CONTROL_RESULTS
        ]

    def close(self) -> None:
        self.control.close(5)
        self.worker.close()


def command(name: str, command_id: str = "c1", /, issued_ms: int = NOW_MS, **arguments: str) -> bytes:
    return pb.Command(
        command_id=command_id, name=name, arguments=arguments, issued_by="a test", issued_ms=issued_ms
    ).SerializeToString(deterministic=True)
