"""Claims about stores that replace one in shadow: a rollback and a reprocessing keep it, and publish nothing either."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from neardup_platform.matching import Matching
from neardup_platform.settings import Settings
from neardup_platform.store.shadow import current_shadow
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.handover.shadow import BeginShadow, CutOver
from neardup_platform.testing import MAX_REPRESENTATIVES, families
from neardup_platform.wire.command_arguments import CutOverArguments, ShadowArguments
from neardup_platform.wire.topics import DECISIONS
from tests.stream.control_machine import ControlMachine, Machines, command
from tests.stream.corrected import corrections, give_up, snapshot

IMAGES = families(12, 4)
# Nearly everything matches.
BAD = Matching(1_000, 0, 0.05, 0.05, MAX_REPRESENTATIVES)
Make = Callable[..., ControlMachine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
        return [
            *corrections(Settings(home=tmp_path / "home"), machine),
            register(ShadowArguments, BeginShadow(machine.store, machine.clock), prompt=True),
            register(CutOverArguments, CutOver(machine.store, machine.clock), prompt=True),
        ]

    machines = Machines(tmp_path / "home", give_up)
    yield partial(machines.start, commands)
    machines.end()


def published(machine: ControlMachine) -> int:
    return sum(entry.topic == DECISIONS for _, entry in machine.store.outbox.pending(1))


def damaged_in_shadow(make: Make, home: Path) -> ControlMachine:
    """A worker with a snapshot from before its shadow, and wrong decisions since."""
    machine = make()
    machine.decide(IMAGES[:20])
    snapshot(machine.store, home / "before")
    machine.log.append(command("shadow", "s1"))
    machine.run()
    machine.pipeline.use_classifier(machine.pipeline.scorer, BAD)
    machine.decide(IMAGES[20:50])
    assert published(machine) == 20
    return machine


def test_a_rollback_to_before_the_shadow_stays_in_it_and_publishes_nothing(make: Make, tmp_path: Path) -> None:
    machine = damaged_in_shadow(make, tmp_path / "home")
    machine.log.append(command("restore", "r1", snapshot="before"))
    machine.run_until_replaced()
    restored = make()
    result = restored.published()[-1]
    assert (result.values["images"], result.values["published_gone"]) == ("20", "0")
    shadow = current_shadow(restored.store.state())
    assert shadow is not None
    assert shadow.command_id == "s1"
    restored.decide(IMAGES[20:])
    assert published(restored) == 20


def test_a_reprocessing_in_shadow_publishes_nothing_and_the_next_decision_after_a_cut_over_is(
    make: Make, tmp_path: Path
) -> None:
    machine = damaged_in_shadow(make, tmp_path / "home")
    machine.log.append(command("reprocess", "p1"))
    machine.run_until_replaced()
    again = make()
    assert int(again.published()[-1].values["changed"]) > 0
    assert current_shadow(again.store.state()) is not None
    assert published(again) == 20
    again.log.append(command("cut-over", "c1"))
    again.run()
    again.decide(IMAGES[50:])
    assert published(again) == 20 + len(IMAGES[50:])
