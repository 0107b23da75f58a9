"""Claims about long and prompt commands: which waits for which, and what a kill changes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from neardup_platform.clock import Clock, ManualClock
from neardup_platform.errors import BadCommand
from neardup_platform.store.writer import Store
from neardup_platform.stream.control import control as control_module
from neardup_platform.stream.control.admission import MAX_AGE_MS
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.control.control import Control
from neardup_platform.stream.control.outcome import Done, Finish, Stage
from neardup_platform.stream.control.pause import Pause, Resume
from neardup_platform.stream.crash_points import CrashPoints
from neardup_platform.stream.worker import Worker
from neardup_platform.testing import families
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message
from neardup_platform.wire.command_arguments import ForgetArguments, OverrideArguments, PauseArguments, ResumeArguments
from neardup_platform.wire.topics import CONTROL
from tests.stream.control.test_command_stages import STAGES, Count
from tests.stream.control_machine import NOW_MS, AnyArguments, ControlMachine, Killed, Machines, command, made_up

IMAGES = families(6, 3)
DAY_MS = 24 * 3_600_000
Make = Callable[..., ControlMachine]


class Slow:
    """A command that takes as long to prepare as the test lets it; it can be interrupted."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.interrupted = threading.Event()
        self.begun = 0

    def __call__(self, command: pb.Command, arguments: AnyArguments) -> Finish:
        self.begun += 1
        self.go.wait(60)
        if self.interrupted.is_set():
            raise BadCommand("interrupted")
        return partial(Done, {"slow": "done"})

    def interrupt(self) -> None:
        self.interrupted.set()
        self.go.set()


class Holding:
    """A command of two stages; the store must stand still between them."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, command: pb.Command, arguments: AnyArguments) -> Finish:
        return partial(Stage, self._second, hold=True)

    def _second(self) -> Finish:
        self.go.wait(60)
        return partial(Done, {"held": "true"})


SLOW, HOLDING = Slow(), Holding()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    SLOW.__init__()  # type: ignore[misc]
    HOLDING.__init__()  # type: ignore[misc]

    def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
        return [
            made_up("slow", SLOW),
            made_up("count", Count(machine)),
            made_up("holding", HOLDING),
            register(PauseArguments, Pause(machine.store, machine.clock), prompt=True),
            register(ResumeArguments, Resume(machine.store), prompt=True),
            register(OverrideArguments, machine.worker.override_handler, prompt=True),
            register(ForgetArguments, machine.worker.forget_handler, prompt=True),
        ]

    machines = Machines(tmp_path / "home")
    yield partial(machines.start, commands)
    SLOW.go.set()
    HOLDING.go.set()
    machines.end()


def turns(machine: ControlMachine, count: int = 20) -> list[tuple[str, bool]]:
    """Ids of the commands handled in a number of turns, and whether they were accepted."""
    done = []
    for _ in range(count):
        done += [(h.result.command_id, h.result.accepted) for h in machine.turn() if h.result is not None]
    return done


def test_prompt_commands_do_not_wait_for_long_ones(make: Make) -> None:
    log = [
        command("slow", "long"),
        command("pause", "p"),
        command("slow", "later"),
        command("forget", "f", image_id=IMAGES[0].image_id),
        command("override", "o", action="alone", image_id=IMAGES[5].image_id),
        command("resume", "r"),
    ]
    one = make()
    one.decide(IMAGES)
    one.log.extend(log)
    assert turns(one) == [("p", True), ("f", True), ("o", True), ("r", True)]
    assert one.store.images.find(IMAGES[0].image_id) is None
    assert one.store.positions.next_offsets()[CONTROL, 0] == 0
    SLOW.go.set()
    assert [r.command_id for r in one.run()] == ["long", "later"]
    assert one.store.positions.next_offsets()[CONTROL, 0] == len(log)


def test_the_position_is_that_of_the_oldest_unfinished_command(make: Make) -> None:
    one = make(command("slow", "a"), command("pause", "b"), command("slow", "c"), command("resume", "d"))
    assert turns(one) == [("b", True), ("d", True)]
    SLOW.go.set()
    positions = []
    while one.control.busy:
        positions += [handled.positions[CONTROL, 0] for handled in one.turn()]
    assert positions == [2, 4]


@pytest.mark.parametrize(
    "kill_at",
    [
        "prepared:1",
        "command_committed:1",
        "stage_committed:2",
        "prepared:3",
        "command_committed:2",
        "stage_committed:4",
        "command_committed:3",
    ],
)
def test_a_kill_anywhere_repeats_nothing_that_was_handled_ahead(make: Make, kill_at: str) -> None:
    forgotten = IMAGES[0].image_id
    log = [
        command("count", "long"),
        command("forget", "f", image_id=forgotten),
        command("pause", "p"),
        command("override", "o", action="alone", image_id=IMAGES[5].image_id),
    ]
    one = make(*log, kill_at=kill_at)
    one.decide(IMAGES)
    with pytest.raises(Killed):
        one.run()
    again = make()
    again.run()
    state = again.store.state()
    assert state.counters["counted"] == STAGES
    assert state.counters["commands_accepted"] == state.commands == len(log)
    assert state.counters["commands_refused"] == 0
    assert state.forgotten == 1
    assert len(again.store.overrides.all()) == 1
    assert again.store.positions.next_offsets()[CONTROL, 0] == len(log)
    for command_id in ("long", "f", "p", "o"):
        first, *repeats = [r for r in again.published() if r.command_id == command_id]
        assert first.accepted
        assert all(repeat == first for repeat in repeats)


def test_nothing_is_handled_while_the_store_must_stand_still(make: Make) -> None:
    one = make(command("holding", "long"), command("pause", "p"))
    while not one.control.holds:
        one.turn()
    assert turns(one) == []
    HOLDING.go.set()
    assert [r.command_id for r in one.run()] == ["long", "p"]


def test_what_waits_here_is_never_too_old(make: Make) -> None:
    one = make(command("slow", "long"), command("count", "waits"))
    assert turns(one) == []
    one.clock.set(NOW_MS + MAX_AGE_MS + 3_600_000)
    SLOW.go.set()
    assert [(r.command_id, r.accepted) for r in one.run()] == [("long", True), ("waits", True)]


def test_what_waited_in_an_earlier_worker_is_not_too_old_and_what_came_since_is(make: Make) -> None:
    one = make(command("slow", "long"), command("count", "waits"), command("pause", "p"))
    assert turns(one) == [("p", True)]
    two = make(command("count", "came late"))
    two.clock.set(NOW_MS + MAX_AGE_MS + 3_600_000)
    # Of the long one nothing was written, so its age counts from when it was read first, too.
    SLOW.go.set()
    results = [(r.command_id, r.accepted) for r in two.run() if r.command_id != "p"]
    assert results == [("long", True), ("waits", True), ("came late", False)]


def test_cancel_refuses_a_waiting_command_at_once_and_ends_a_preparation(make: Make) -> None:
    one = make(command("slow", "runs"), command("count", "waits"), command("cancel", "c1", command_id="waits"))
    assert turns(one) == [("waits", False), ("c1", True)]
    assert not SLOW.interrupted.is_set()
    one.log.append(command("cancel", "c2", command_id="runs"))
    (runs, cancel) = one.run()
    assert SLOW.interrupted.is_set()
    assert (runs.command_id, runs.accepted, runs.reason) == ("runs", False, "cancelled by command c2")
    assert (cancel.command_id, cancel.accepted) == ("c2", True)


def test_no_more_is_handled_ahead_than_a_restart_remembers(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "MAX_BEHIND", 5)
    one = make(command("slow", "long"), *(command("pause", f"p{n}") for n in range(3)))
    turns(one)
    assert not one.control.full
    one.log.append(command("resume", "r"))
    turns(one)
    assert one.control.full
    SLOW.go.set()
    one.run()
    assert not one.control.full


class _FinishedInBetween:
    """A preparation that ends between the first look at it and the second."""

    def __init__(self, command: pb.Command, prepare: Callable[[], Finish], clock: Clock) -> None:
        self.command, self._finish, self._looks = command, prepare(), 0

    def finish(self) -> Finish:
        return self._finish

    @property
    def done(self) -> bool:
        self._looks += 1
        return self._looks > 1


class _Nowhere:
    """A source and an outbox that nothing comes from or goes to."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None


def test_a_command_that_is_ready_in_between_is_not_finished_with_steps_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "Preparation", _FinishedInBetween)
    in_flight, seen = ["a step"], []

    def handler(_: pb.Command, _arguments: AnyArguments) -> Finish:
        def finish() -> Done:
            seen.append(list(in_flight))
            return Done({})

        return finish

    with closing(Store(tmp_path / "store")) as store:
        loop: Any = object.__new__(Worker)
        loop._clock = ManualClock(NOW_MS)
        loop._control = Control([made_up("swap", handler)], store.commands, loop._clock)
        loop._store, loop._state, loop._crash = store, store.state(), CrashPoints("")
        loop._outbox = loop._source = loop._corpus = _Nowhere()
        loop._finish_steps = in_flight.clear
        loop._control.take([Message(CONTROL, 0, 0, b"k", command("swap", "s"))])
        for _ in range(4):
            loop._apply_commands()
            assert seen in ([], [[]])
            in_flight.append("the next step")
        assert seen == [[]]
