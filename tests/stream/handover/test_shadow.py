"""Claims about the shadow: what is withheld in it, what is not, how it ends, kills, and stores that replace one."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.clock import SystemClock
from neardup_platform.records import Cause
from neardup_platform.store.shadow import begin_shadow, current_shadow, end_shadow, keep_shadows
from neardup_platform.store.store_pb2 import StoreState
from neardup_platform.store.writer import Store
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.handover.publish_withheld import PublishWithheld
from neardup_platform.stream.handover.shadow import BeginShadow, CutOver, begin_by_settings
from neardup_platform.testing import InMemoryWorker, families
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import (
    CutOverArguments,
    ForgetArguments,
    PublishWithheldArguments,
    ShadowArguments,
)
from neardup_platform.wire.topics import CONTROL_RESULTS, DEBUG, DECISIONS
from tests.stream.control_machine import NOW_MS, Commands, ControlMachine, Killed, Machines, command
from tests.stream.rearranged import assert_sound, heads
from tests.stream.redecide.conftest import Selections

IMAGES = families(12, 4)
IDS = [each.image_id for each in IMAGES]
EARLY, LATE, MORE = IMAGES[:40], IMAGES[40:50], IMAGES[50:]
FAST = {"images_per_s": "100000"}


@pytest.fixture
def selections() -> Selections:
    return Selections()


def commands_over(selections: Selections) -> Commands:
    def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
        publish = PublishWithheld(machine.store, selections.fetch, lambda: True, SystemClock(), batch_images=16)
        return [
            register(ShadowArguments, BeginShadow(machine.store, machine.clock), prompt=True),
            register(ForgetArguments, machine.worker.forget_handler, prompt=True),
            register(CutOverArguments, CutOver(machine.store, machine.clock), prompt=True),
            register(PublishWithheldArguments, publish),
        ]

    return commands


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path / "home", lambda machine: machine.control.close(20))
    yield made
    made.end()


def cut_over(command_id: str = "cut", **arguments: str) -> bytes:
    return command("cut-over", command_id, NOW_MS, **arguments)


def publish(command_id: str, **arguments: str) -> bytes:
    return command("publish-withheld", command_id, NOW_MS, **arguments)


def published(machine: ControlMachine) -> list[pb.Decision]:
    return [pb.Decision.FromString(e.value) for _, e in machine.store.outbox.pending() if e.topic == DECISIONS]


def topics(machine: ControlMachine) -> set[str]:
    return {entry.topic for _, entry in machine.store.outbox.pending()}


def test_a_worker_in_shadow_decides_and_answers_and_publishes_no_decision(
    machines: Machines, selections: Selections
) -> None:
    machine = machines.start(commands_over(selections), command("shadow", "s1"), command("shadow", "s2"))
    begun, again = machine.run()
    assert (begun.values["shadow"], again.values["shadow"], again.values["by"]) == ("now", "before", "a test")
    machine.decide(IMAGES)
    machine.log.append(command("forget", "f1", image_id=IDS[0]))
    (forgotten,) = machine.run()
    assert forgotten.accepted
    assert topics(machine) == {CONTROL_RESULTS}
    assert set(heads(machine.store)) == set(IDS[1:])
    assert machine.store.history.all(IDS[1])
    shadow = current_shadow(machine.store.state())
    assert shadow is not None
    assert shadow.withheld == machine.store.state().sequence >= len(IMAGES)


def test_a_kill_keeps_the_shadow_and_the_cut_over_publishes_from_the_next_decision_on(
    machines: Machines, selections: Selections
) -> None:
    commands = commands_over(selections)
    with pytest.raises(Killed):
        machines.start(commands, command("shadow", "s1"), kill_at="command_committed").run()
    second = machines.start(commands)
    second.run()
    second.decide(EARLY)
    last = second.store.state().sequence
    with pytest.raises(Killed):
        machines.start(commands, cut_over(reason="parity is green"), kill_at="command_committed").run()
    third = machines.start(commands)
    (result,) = third.published()[-1:]
    assert result.accepted
    assert (result.values["published_after"], result.values["withheld"]) == (str(last), str(last))
    assert not published(third)
    third.decide(LATE)
    assert [decision.sequence for decision in published(third)] == list(range(last + 1, last + len(LATE) + 1))
    assert DEBUG in topics(third)
    (shadow,) = third.store.state().shadows
    assert (shadow.until_sequence, shadow.ended_by, shadow.reason) == (last, "a test", "parity is green")
    third.log += [cut_over("again"), command("shadow", "s2")]
    refused, back = third.run()
    assert "not in shadow" in refused.reason
    assert back.values["shadow"] == "now"
    before = len(published(third))
    third.decide(MORE)
    assert len(published(third)) == before


def test_listed_images_are_published_once_with_their_present_heads_despite_a_kill(
    machines: Machines, selections: Selections, tmp_path: Path
) -> None:
    commands = commands_over(selections)
    machine = machines.start(commands, command("shadow", "s1"))
    machine.run()
    machine.decide(EARLY)
    held = heads(machine.store)
    key = selections.put([*IDS[:36], "stranger"])
    machine.log.append(publish("early", selection=key, **FAST))
    (early,) = machine.run()
    assert "the worker is in shadow, so nothing is published" in early.reason
    machine.log.append(cut_over())
    (ended,) = machine.run()
    with pytest.raises(Killed):
        machines.start(commands, publish("p1", selection=key, **FAST), kill_at="stage_committed:2").run()
    then = machines.start(commands)
    then.decide(LATE)
    then.log.append(publish("p2", selection=key, **FAST))
    result, again = then.run()
    assert result.accepted, result.reason
    assert [result.values[name] for name in ("images", "published", "unknown")] == ["37", "36", "1"]
    assert [again.values[name] for name in ("published", "published_before")] == ["0", "36"]
    found = [decision for decision in published(then) if decision.cause == Cause.CUT_OVER]
    assert {decision.image_id: decision.head for decision in found} == {key: held[key] for key in IDS[:36]}
    assert len(found) == 36
    sequences = [decision.sequence for decision in published(then)]
    assert sequences == sorted(set(sequences))
    assert min(sequences) > int(ended.values["published_after"])
    assert_sound(then.worker, tmp_path / "scratch")


def test_going_back_into_shadow_ends_the_publication_of_listed_images(
    machines: Machines, selections: Selections
) -> None:
    machine = machines.start(commands_over(selections), command("shadow", "s1"))
    machine.run()
    machine.decide(EARLY)
    machine.log += [cut_over(), publish("p1", selection=selections.put(IDS[:40]), images_per_s="100")]
    sent = iter([command("shadow", "s2")])

    def between() -> None:
        machine.log.extend(sent)

    _, back, stopped = machine.run(between)
    assert (back.values["shadow"], stopped.accepted) == ("now", False)
    assert "of 40 listed images were handled before it began" in stopped.reason
    assert 0 < len(published(machine)) < 40


def test_a_new_store_follows_the_setting_and_one_with_a_commit_does_not(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "store")) as store:
        begin_by_settings(store, 7)
        begin_by_settings(store, 8)
        assert [(each.by, each.since_ms) for each in store.state().shadows] == [("", 7)]
    with closing(InMemoryWorker(tmp_path / "used")) as worker:
        worker.decide(EARLY[:3])
        begin_by_settings(worker.store, 7)
        assert not worker.store.state().shadows


def test_a_restored_store_is_in_shadow_as_the_operator_said_here_or_else_as_the_snapshot_says() -> None:
    by_setting, by_command, ended, never = (StoreState() for _ in range(4))
    begin_shadow(by_setting, 1)
    begin_shadow(by_command, 2, "ann", "c1")
    begin_shadow(ended, 1)
    end_shadow(ended, 3, "ann", "c2")
    for present, snapshot, after in (
        (by_command, never, True),
        (by_command, ended, True),
        (ended, by_setting, False),
        (ended, never, False),
        (by_setting, ended, False),
        (by_setting, never, True),
        (never, by_setting, True),
        (never, never, False),
    ):
        restored = StoreState()
        restored.CopyFrom(snapshot)
        keep_shadows(present, restored)
        assert (current_shadow(restored) is not None) is after


def test_the_last_ten_shadows_are_kept() -> None:
    state = StoreState()
    for number in range(13):
        begin_shadow(state, 10 * number + 1, "ann", f"b{number}")
        end_shadow(state, 10 * number + 5, "ann", f"e{number}")
    assert [shadow.command_id for shadow in state.shadows] == [f"b{number}" for number in range(3, 13)]
