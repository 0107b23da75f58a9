"""Claims about commands of several stages: the stream runs, a kill costs nothing, and they can be cancelled."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from neardup_platform.errors import BadCommand
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.command import RegisteredCommand, put_progress
from neardup_platform.stream.control.outcome import Done, Finish, Outcome, Stage
from neardup_platform.testing import families
from neardup_platform.wire import neardup_pb2 as pb
from tests.stream.control_machine import NOW_MS, AnyArguments, ControlMachine, Killed, command, made_up

STAGES = 5


class Count:
    """Counts to STAGES, one in each stage, and records in the store how far it is."""

    def __init__(self, machine: ControlMachine) -> None:
        self._machine = machine

    def __call__(self, command: pb.Command, arguments: AnyArguments) -> Finish:
        progress = self._machine.store.commands.progress(command.command_id) or store_pb.CommandProgress()
        return partial(self._stage, command, progress)

    def _stage(self, command: pb.Command, progress: store_pb.CommandProgress) -> Outcome:
        if command.arguments.get("fails_at") == str(progress.done):
            raise BadCommand("the world has changed meanwhile")
        if progress.done == STAGES:
            return Done({"counted": str(progress.done)})
        after = store_pb.CommandProgress(done=progress.done + 1)

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            put_progress(batch, command.command_id, after)

        def prepare() -> Finish:
            return partial(self._stage, command, after)

        return Stage(prepare, write, counts={"counted": 1})


def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
    return [made_up("count", Count(machine))]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., ControlMachine]]:
    made: list[ControlMachine] = []

    def make(log: list[bytes], kill_at: str = "") -> ControlMachine:
        for earlier in made:
            with suppress(Exception):
                earlier.close()
        made.append(ControlMachine(tmp_path, log, commands, kill_at))
        return made[-1]

    yield make
    made[-1].close()


def test_the_stream_decides_between_the_stages_and_the_result_comes_last(
    machine: Callable[..., ControlMachine],
) -> None:
    images = iter(families(STAGES, 1))
    one = machine([command("count")])
    (result,) = one.run(between=lambda: one.decide([next(images)]))
    assert (result.accepted, dict(result.values)) == (True, {"counted": str(STAGES)})
    assert one.store.state().images == STAGES
    assert result.sequence == STAGES
    assert one.store.commands.progress("c1") is None


def test_the_position_of_the_topic_is_written_with_the_last_stage_only(machine: Callable[..., ControlMachine]) -> None:
    one = machine([command("count")])
    positions = []
    one.run(between=lambda: positions.append(one.store.positions.next_offsets()))
    assert positions == [{}] * STAGES
    assert list(one.store.positions.next_offsets().values()) == [1]


@pytest.mark.parametrize(
    "kill_at", ["prepared:1", "prepared:3", "stage_committed:1", "stage_committed:4", "command_committed"]
)
def test_a_kill_anywhere_repeats_and_loses_no_stage(machine: Callable[..., ControlMachine], kill_at: str) -> None:
    log = [command("count")]
    with pytest.raises(Killed):
        machine(log, kill_at).run()
    again = machine(log)
    again.run()
    assert again.store.state().counters["counted"] == STAGES
    (result,) = again.published()
    assert dict(result.values) == {"counted": str(STAGES)}


def test_a_started_command_is_never_too_old_to_continue(machine: Callable[..., ControlMachine]) -> None:
    log = [command("count", issued_ms=NOW_MS)]
    with pytest.raises(Killed):
        machine(log, "stage_committed:2").run()
    log[0] = command("count", issued_ms=NOW_MS - 25 * 3_600_000)
    (result,) = machine(log).run()
    assert result.accepted


def test_a_command_that_fails_in_a_later_stage_is_refused_and_forgotten(machine: Callable[..., ControlMachine]) -> None:
    one = machine([command("count", fails_at="3"), command("count", "c2")])
    refused, after = one.run()
    assert (refused.accepted, refused.reason) == (False, "the world has changed meanwhile")
    assert after.accepted
    assert one.store.commands.progress("c1") is None
    assert one.store.state().counters["commands_refused"] == 1


def test_cancel_ends_a_command_between_two_stages(machine: Callable[..., ControlMachine]) -> None:
    one = machine([command("count")])
    parts: list[int] = []

    def cancel_after_two() -> None:
        parts.append(1)
        if len(parts) == 2:
            one.log.append(command("cancel", "c2", command_id="c1"))

    counted, cancel = one.run(between=cancel_after_two)
    assert (counted.accepted, counted.reason) == (False, "cancelled by command c2")
    assert (cancel.accepted, dict(cancel.values)) == (True, {"cancelled": "c1"})
    assert len(parts) < STAGES
    assert one.store.commands.progress("c1") is None


def test_cancel_takes_back_a_command_that_waits_and_no_other(machine: Callable[..., ControlMachine]) -> None:
    log = [command("count"), command("count", "c2"), command("cancel", "c3", command_id="c2"), command("count", "c4")]
    results = machine(log).run()
    assert {r.command_id: r.accepted for r in results} == {"c1": True, "c2": False, "c3": True, "c4": True}
    order = [r.command_id for r in results]
    assert order.index("c2") < order.index("c3")
    assert order.index("c1") < order.index("c4")


@pytest.mark.parametrize(("cancelled", "reason"), [("c1", "was finished before"), ("c9", "is not waiting")])
def test_cancel_of_what_cannot_be_cancelled_is_refused(
    machine: Callable[..., ControlMachine], cancelled: str, reason: str
) -> None:
    one = machine([command("count")])
    one.run()
    one.log.append(command("cancel", "c2", command_id=cancelled))
    (result,) = one.run()
    assert not result.accepted
    assert reason in result.reason
    one.log.append(command("count", "c9"))
    assert one.run()[0].accepted
