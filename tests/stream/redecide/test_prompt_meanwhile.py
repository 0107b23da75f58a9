"""Claims about prompt commands that are handled between two batches of `redecide` (the table in docs/adr/0016)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from neardup_platform.records import Decision
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.handover.shadow import BeginShadow
from neardup_platform.testing import families
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.command_arguments import LabelArguments, ShadowArguments
from neardup_platform.wire.topics import DECISIONS
from tests.stream.control_machine import ControlMachine, Machines, command
from tests.stream.rearranged import assert_overrides_are_met, assert_store_agrees, heads
from tests.stream.redecide.conftest import Selections, commands_over

IMAGES = families(12, 4)
IDS = [each.image_id for each in IMAGES]
# So slow that prompt commands are handled while a batch waits for its turn.
STRICT = {"threshold": "0.985", "head_threshold": "0.985", "images_per_s": "60"}


@pytest.fixture
def machine(tmp_path: Path, selections: Selections) -> Iterator[ControlMachine]:
    def commands(made: ControlMachine) -> Sequence[RegisteredCommand]:
        return [
            *commands_over(selections)(made),
            register(LabelArguments, made.worker.label_handler, prompt=True),
            register(ShadowArguments, BeginShadow(made.store, made.clock), prompt=True),
        ]

    machines = Machines(tmp_path / "home", lambda made: made.control.close(20))
    made = machines.start(commands, command("redecide", "c1", selection=selections.put(IDS), **STRICT))
    made.decide(IMAGES)
    yield made
    machines.end()


def run_with(machine: ControlMachine, *sent: bytes) -> dict[str, pb.CommandResult]:
    """Carry out the redecide, with other commands sent after its first batch; results by command."""
    waiting = list(sent)

    def between() -> None:
        machine.log.extend(waiting)
        waiting.clear()

    return {result.command_id: result for result in machine.run(between)}


def test_corrections_between_batches_hold_for_the_later_ones(machine: ControlMachine) -> None:
    # The thresholds set the last one apart, after the first batch.
    gone, linked, labelled = IDS[-1], IDS[-2], "5/2"
    results = run_with(
        machine,
        command("forget", "f", image_id=gone),
        command("override", "o", action="move", image_id=linked, other_id=IDS[0]),
        command("label", "l", bank="b", image_id=labelled, policy="p", action="review"),
    )
    assert list(results) == ["f", "o", "l", "c1"], "they do not wait for it"
    assert all(result.accepted for result in results.values())
    after = heads(machine.store)
    assert gone not in after
    assert after[linked] == after[IDS[0]]
    values = results["c1"].values
    assert int(values["unknown"]) + int(values["skipped"]) >= 1, "the forgotten image is not decided again"
    moved = {move.image_id for _, move in machine.store.commands.moves("c1")}
    assert not moved & {gone, linked}
    assert labelled in moved
    assert [label.bank for label in current(machine, labelled).labels] == ["b"]
    assert_store_agrees(machine.store)
    assert_overrides_are_met(machine.worker)


def test_a_shadow_withholds_the_later_batches(machine: ControlMachine) -> None:
    results = run_with(machine, command("shadow", "s"))
    moved = int(results["c1"].values["moved"])
    last = int(results["s"].values["published_to"])
    told = [decision.sequence for decision in published(machine)]
    assert moved > sum(sequence > len(IMAGES) for sequence in told)
    assert max(told) <= last


def test_a_cancelled_redecide_keeps_what_it_moved_and_can_be_undone(machine: ControlMachine) -> None:
    before = heads(machine.store)
    results = run_with(machine, command("cancel", "x", command_id="c1"))
    assert not results["c1"].accepted
    assert heads(machine.store) != before
    machine.log.append(command("redecide", "u", undo="c1", images_per_s="100000"))
    (undone,) = machine.run()
    assert undone.accepted, undone.reason
    assert heads(machine.store) == before


def current(machine: ControlMachine, image_id: str) -> Decision:
    return decode_decision(machine.store.history.current(image_id))


def published(machine: ControlMachine) -> list[pb.Decision]:
    return [pb.Decision.FromString(e.value) for _, e in machine.store.outbox.pending() if e.topic == DECISIONS]
