"""Claims about corrections while another store is under construction: they hold, and consumers get the result."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.matching import Matching
from neardup_platform.settings import Settings
from neardup_platform.store.layout import Table
from neardup_platform.store.swap import before_path, copy_store
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.control.command import RegisteredCommand, register
from neardup_platform.stream.control.outcome import Finish
from neardup_platform.stream.corrections.deferred_overrides import deferred_overrides, deferred_step
from neardup_platform.stream.corrections.forget import Forget
from neardup_platform.stream.snapshots.restore import Restore
from neardup_platform.testing import LSH_DIM, MODELS, families, image
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import ForgetArguments, OverrideArguments, RestoreArguments
from neardup_platform.wire.topics import CONTROL, DECISIONS
from tests.stream.control_machine import ControlMachine, Killed, Machines, command
from tests.stream.corrected import nothing_deleted
from tests.stream.reprocess.conftest import LOOSE, STRICT, Make
from tests.stream.small_files import SmallFiles

IMAGES = families(20, 4)


def apply_deferred_overrides(machine: ControlMachine) -> int:
    """What a worker does at its start."""
    deferred = deferred_overrides(machine.store)
    for override_id in deferred:
        change = machine.worker.override_handler.apply_again(override_id)
        commit(machine.store, machine.store.state(), deferred_step(change, override_id), 0)
        machine.worker.corpus.follow(change.steps)
    return len(deferred)


def heard(store: Store) -> dict[str, str]:
    """The heads that a consumer of all decisions derives."""
    heads: dict[str, str] = {}
    sequences: dict[str, int] = {}
    for _, entry in store.outbox.pending():
        if entry.topic != DECISIONS:
            continue
        said = pb.Decision.FromString(entry.value)
        if said.sequence <= sequences.get(said.image_id, 0):
            continue
        sequences[said.image_id] = said.sequence
        if not said.head:
            del heads[said.image_id]
            continue
        if said.replaced_head:
            heads = {i: said.image_id if head == said.replaced_head else head for i, head in heads.items()}
        heads[said.image_id] = said.head
    return heads


def heads_of(store: Store) -> dict[str, str]:
    return {image_id: record.head for image_id, record in store.images.all()}


def assert_sound(machine: ControlMachine) -> None:
    store, heads = machine.store, heads_of(machine.store)
    assert {m: head for head, _ in store.clusters.all() for _, m in store.members.all(head)} == heads
    assert store.state().images == len(heads)
    assert heard(store) == heads
    sequences = [sequence for image_id in heads for sequence in store.history.sequences(image_id)]
    assert len(set(sequences)) == len(sequences)
    assert max(sequences) <= store.state().sequence


def stages(machine: ControlMachine) -> int:
    """Lets the command that is read go through one more stage; 0 at the end."""
    while machine.control.busy or machine._next < len(machine.log):
        handled = machine.turn()
        if any(h.is_stage for h in handled):
            return 1
    return 0


def corrections(heads: Mapping[str, str]) -> list[bytes]:
    """A head and a member forgotten, a member moved to where it does not belong, a head made alone."""
    clusters: dict[str, list[str]] = {}
    for image_id, head in sorted(heads.items()):
        clusters.setdefault(head, []).append(image_id)
    one, two, three, four = sorted(clusters, key=lambda head: (-len(clusters[head]), head))[:4]
    member = next(m for m in clusters[two] if m != two)
    mover = next(m for m in clusters[three] if m != three)
    return [
        command("forget", "f1", image_id=one),
        command("forget", "f2", image_id=member),
        command("override", "o1", action="move", image_id=mover, other_id=four),
        command("override", "o2", action="alone", image_id=two),
    ]


@pytest.mark.parametrize("matching", [LOOSE, STRICT])
@pytest.mark.parametrize("after_stages", [0, 1, 2])
def test_a_correction_during_reprocessing_holds_afterwards(make: Make, matching: Matching, after_stages: int) -> None:
    one = make(command("reprocess", "r"), matching=matching)
    one.pipeline.use_classifier(one.pipeline.scorer, STRICT if matching is LOOSE else LOOSE)
    one.decide(IMAGES[:80])
    later = [IMAGES[80:]]
    for _ in range(after_stages):
        assert stages(one)
    given = corrections(heads_of(one.store))
    one.log.extend(given)
    one.run_until_replaced(between=lambda: one.decide(later.pop()) if later else None)
    two = make()
    assert [two.store.images.find(f"{pb.Command.FromString(c).arguments['image_id']}") for c in given[:2]] == [
        None,
        None,
    ]
    assert apply_deferred_overrides(two) == 2
    o1, o2 = (pb.Command.FromString(value).arguments for value in given[2:])
    heads = heads_of(two.store)
    assert heads[o1["image_id"]] == heads[o1["other_id"]]
    assert heads[o2["image_id"]] == o2["image_id"]
    assert_sound(two)
    assert two.run() == []
    assert two.store.overrides.deferred() == []
    assert {r.command_id: r.accepted for r in two.published()} == dict.fromkeys(("r", "f1", "f2", "o1", "o2"), True)
    assert two.store.positions.next_offsets()[CONTROL, 0] == len(two.log)


@pytest.mark.parametrize(
    "kill_at",
    [
        "stage_committed:2",
        "command_committed:1",
        "command_committed:3",
        "command_committed:4",
        "stage_committed:3",
        "prepared:5",
        "prepared:8",
        "command_committed:5",
    ],
)
def test_a_kill_anywhere_among_corrections_ends_in_a_store_that_has_them(make: Make, kill_at: str) -> None:
    one = make(command("reprocess", "r"), kill_at=kill_at)
    one.decide(IMAGES)
    given = corrections(heads_of(one.store))
    one.log.extend(given)
    with pytest.raises(Killed):
        one.run()
    again = make()
    again.run_until_replaced()
    two = make()
    apply_deferred_overrides(two)
    heads = heads_of(two.store)
    o1, o2 = (pb.Command.FromString(value).arguments for value in given[2:])
    assert heads[o1["image_id"]] == heads[o1["other_id"]]
    assert heads[o2["image_id"]] == o2["image_id"]
    assert len(heads) == len(IMAGES) - 2
    assert_sound(two)
    assert two.store.state().forgotten == 2


class Held:
    """A restore whose preparation lasts until it is let go, although all of it is done."""

    def __init__(self, machine: ControlMachine, settings: Settings) -> None:
        self.go = threading.Event()
        self.restore = Restore(
            *(settings, machine.store, machine.pipeline, "cosine", lambda _: None, nothing_deleted),
            machine.clock,
            models=MODELS,
            launch=lambda _: SmallFiles(),
        )

    def __call__(self, given: pb.Command, arguments: RestoreArguments) -> Finish:
        finish = self.restore(given, arguments)
        self.go.wait(60)
        return finish


def test_a_correction_during_a_restore_holds_afterwards(tmp_path: Path) -> None:
    settings, held = Settings(home=tmp_path / "home"), list[Held]()
    machines = Machines(settings.home, lambda _: held[-1].restore.close())

    def commands(machine: ControlMachine) -> Sequence[RegisteredCommand]:
        held.append(Held(machine, settings))
        note_forgotten = held[-1].restore.note_forgotten
        forget = Forget(machine.store, machine.worker.redeciding, machine.clock, note_forgotten)
        return [
            register(RestoreArguments, held[-1]),
            register(ForgetArguments, forget, prompt=True),
            register(OverrideArguments, machine.worker.override_handler, prompt=True),
        ]

    one = machines.start(commands)
    one.decide(IMAGES)
    before = heads_of(one.store)
    machines.end()
    copy_store(settings.store_path, before_path(settings.store_path))
    one = machines.start(commands, command("restore", "r", undo="true"))
    given = corrections(before)
    one.log.extend(given)
    while not one.store.state().forgotten == len(one.store.overrides.all()) == 2:
        one.turn()
    held[-1].go.set()
    one.run_until_replaced()
    two = machines.start(commands)
    held[-1].go.set()
    assert apply_deferred_overrides(two) == 2
    o1, o2 = (pb.Command.FromString(value).arguments for value in given[2:])
    heads = heads_of(two.store)
    assert heads[o1["image_id"]] == heads[o1["other_id"]]
    assert heads[o2["image_id"]] == o2["image_id"]
    assert len(heads) == len(IMAGES) - 2
    assert two.run() == []
    (result,) = [r for r in two.published() if r.command_id == "r"]
    assert result.values["forgotten_again"] == "2"
    machines.end()


def test_nothing_of_an_image_forgotten_meanwhile_is_in_any_table(make: Make) -> None:
    one = make(command("reprocess", "r"))
    one.decide([*IMAGES[:50], image("the only one", np.random.default_rng(1).standard_normal(LSH_DIM))])
    assert stages(one)
    gone = "the only one"
    one.log.append(command("forget", "f", image_id=gone))
    one.run_until_replaced()
    two = make()
    two.store.purged()
    for table in Table:
        for key, value in two.store.scan(table):
            if table is Table.OUTBOX or (table is Table.HISTORY and gone.encode() not in key):
                continue  # what was published, and candidates of other images' decisions
            assert gone.encode() not in key + value, table
