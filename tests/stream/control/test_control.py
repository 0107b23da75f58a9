"""Claims about control commands without Kafka: handled one by one, once, and never the end of the worker."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from neardup_platform.clock import ManualClock
from neardup_platform.errors import BadCommand, ServerUnavailable
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.control import result_writes
from neardup_platform.stream.control.command import register
from neardup_platform.stream.control.control import Control
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.stream.steps import CommandStep
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message
from neardup_platform.wire.command_arguments import CommandArguments
from neardup_platform.wire.topics import CONTROL, CONTROL_RESULTS, DEAD_LETTER
from tests.stream.control_machine import AnyArguments, made_up

NOW_MS = 1_700_000_000_000


class NoteArguments(CommandArguments):
    command = "note"
    text: str


class Machine:
    """A store and a control topic; `done` are the commands whose effect was applied."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home / "store")
        self.state = self.store.state()
        self.done: list[str] = []
        self.s3_is_away = True
        self.go = threading.Event()
        self.go.set()
        self.clock = ManualClock(NOW_MS)
        commands = [
            register(NoteArguments, self._note),
            made_up("break", self._break),
            made_up("fail-late", self._fail_late),
            made_up("away", self._away),
        ]
        self.control = Control(commands, self.store.commands, self.clock)
        self.offset = 0

    def _note(self, command: pb.Command, arguments: NoteArguments) -> Finish:
        self.go.wait(120)
        return partial(Done, {"noted": arguments.text}, apply=partial(self.done.append, arguments.text))

    def _break(self, command: pb.Command, arguments: AnyArguments) -> Finish:
        raise ZeroDivisionError("a bug")

    def _fail_late(self, command: pb.Command, arguments: AnyArguments) -> Finish:
        def finish() -> Done:
            raise BadCommand("the world has changed meanwhile")

        return finish

    def _away(self, command: pb.Command, arguments: AnyArguments) -> Finish:
        if self.s3_is_away:
            raise ServerUnavailable("S3 is away")
        return partial(Done, {})

    def send(self, *values: bytes) -> None:
        messages = [Message(CONTROL, 0, self.offset + n, b"key", value) for n, value in enumerate(values)]
        self.offset += len(values)
        self.control.take(messages)

    def step(self) -> Handled | None:
        """As the worker's loop does it."""
        ready = self.control.take_ready()
        if ready is None:
            return None
        handled = ready.finish()
        commit(self.store, self.state, CommandStep(handled), NOW_MS)
        if isinstance(handled.outcome, Done):
            handled.outcome.apply()
        return handled

    def run(self, handled: int) -> list[Handled]:
        found: list[Handled] = []
        deadline = time.monotonic() + 120
        while len(found) < handled:
            assert time.monotonic() < deadline
            if (one := self.step()) is not None:
                found.append(one)
        assert not self.control.busy
        return found

    def published(self, topic: str) -> list[bytes]:
        return [entry.value for _, entry in self.store.outbox.pending() if entry.topic == topic]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    with closing(machine.store):
        yield machine


def command(name: str, command_id: str = "c1", issued_ms: int = NOW_MS, **arguments: str) -> bytes:
    return pb.Command(
        command_id=command_id, name=name, arguments=arguments, issued_by="a test", issued_ms=issued_ms
    ).SerializeToString(deterministic=True)


def test_command_with_endless_arguments_is_refused_unlogged(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    machine.send(command("note", **{f"a{n}": "" for n in range(80_000)}))
    (handled,) = machine.run(1)
    assert handled.result is not None
    assert (handled.result.accepted, "80000 arguments" in handled.result.reason) == (False, True)
    assert len(caplog.text) < 2_000


def test_the_effect_the_result_and_the_position_are_one_write(machine: Machine) -> None:
    machine.send(command("note", text="x"))
    assert machine.store.positions.next_offsets() == {}
    (handled,) = machine.run(1)
    assert machine.done == ["x"]
    assert machine.store.positions.next_offsets() == {(CONTROL, 0): 1}
    (value,) = machine.published(CONTROL_RESULTS)
    result = pb.CommandResult.FromString(value)
    assert (result.command_id, result.accepted, dict(result.values)) == ("c1", True, {"noted": "x"})
    assert machine.store.commands.find("c1").result == handled.result  # type: ignore[union-attr]
    assert machine.store.state().counters["commands_accepted"] == 1


def test_nothing_is_committed_while_a_command_is_prepared_and_the_next_one_waits(machine: Machine) -> None:
    machine.go.clear()
    machine.send(command("note", "c1", text="first"), command("note", "c2", text="second"))
    commits = machine.store.state().commit
    for _ in range(20):
        assert machine.step() is None
    assert machine.control.busy
    assert machine.store.state().commit == commits
    machine.go.set()
    machine.run(2)
    assert machine.done == ["first", "second"]


def test_a_repeat_changes_nothing_and_gets_the_first_result_byte_for_byte(machine: Machine) -> None:
    machine.send(command("note", text="x"), command("note", text="y"), command("fly", issued_ms=1))
    assert [handled.repeated for handled in machine.run(3)] == [False, True, True]
    assert machine.done == ["x"]
    assert len(set(machine.published(CONTROL_RESULTS))) == 1
    assert machine.store.positions.next_offsets() == {(CONTROL, 0): 3}
    assert machine.store.state().commands == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (command("break"), "ZeroDivisionError: a bug"),
        (command("fail-late"), "the world has changed"),
        (command("away"), "S3 is away"),
        (command("note"), "takes the arguments ['text']"),
        (command("note", text="x", more="y"), "found ['more', 'text']"),
        (command("fly"), "'fly' is no command"),
        (command(""), "'' is no command"),
        (command("note", issued_ms=0, text="x"), "issued_ms is 0"),
        (command("note", issued_ms=NOW_MS - 25 * 3_600_000, text="x"), "25.0 hours ago"),
        (command("note", issued_ms=NOW_MS + 7_200_000, text="x"), "the worker's clock"),
    ],
)
def test_a_bad_command_is_refused_with_the_reason(machine: Machine, value: bytes, reason: str) -> None:
    machine.send(value, command("note", "c2", text="after"))
    refused, after = machine.run(2)
    assert refused.result is not None
    assert not refused.result.accepted
    assert reason in refused.result.reason
    assert after.result is not None
    assert after.result.accepted
    assert machine.done == ["after"]
    assert machine.store.state().counters["commands_refused"] == 1


@pytest.mark.parametrize(
    "value", [b"\xff\xff", b"", command("note", ""), command("note", "a\nb"), command("note", "x" * 129)]
)
def test_a_message_that_is_no_command_is_dead_lettered_and_has_no_result(machine: Machine, value: bytes) -> None:
    machine.send(value)
    machine.run(1)
    (letter,) = [pb.DeadLetter.FromString(v) for v in machine.published(DEAD_LETTER)]
    assert (letter.topic, letter.value) == (CONTROL, value)
    assert letter.reason in ("garbage", "bad-command")
    assert machine.published(CONTROL_RESULTS) == []
    assert machine.store.state().counters["commands_garbage"] == 1
    assert machine.store.state().commands == 0


def test_a_long_command_refused_for_what_passes_is_carried_out_when_it_is_sent_again(machine: Machine) -> None:
    machine.send(command("away"), command("away"), command("note", "c2", text="x"))
    first, second, _ = machine.run(3)
    for refused in (first, second):
        assert refused.result is not None
        assert (refused.result.accepted, refused.result.temporary, refused.repeated) == (False, True, False)
    machine.s3_is_away = False
    machine.send(command("away"), command("away"))
    carried_out, repeated = machine.run(2)
    assert carried_out.result is not None
    assert (carried_out.result.accepted, carried_out.repeated) == (True, False)
    assert (repeated.result, repeated.repeated) == (carried_out.result, True)
    numbers = {number: machine.store.commands.id_of(number) for number in range(1, 5)}
    assert numbers == {1: None, 2: None, 3: "c2", 4: "c1"}


def test_any_other_refusal_stays(machine: Machine) -> None:
    machine.send(command("break"), command("break"), command("fail-late", "c2"), command("fail-late", "c2"))
    handled = machine.run(4)
    assert [each.repeated for each in handled] == [False, True, False, True]
    assert not any(each.result is None or each.result.temporary for each in handled)


def test_ids_are_remembered_up_to_a_number(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_writes, "REMEMBERED", 3)
    machine.send(*(command("note", f"c{n}", text=str(n)) for n in range(5)))
    machine.run(5)
    assert [machine.store.commands.find(f"c{n}") is not None for n in range(5)] == [False, False, True, True, True]
    assert [machine.store.commands.id_of(n) for n in (1, 2, 3)] == [None, None, "c2"]
