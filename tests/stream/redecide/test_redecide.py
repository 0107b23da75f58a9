"""Claims about deciding chosen images again: what moves, what stays, what is published, kills, and undoing it."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neardup_platform.corpus import Ordinals
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.store.layout import Table
from neardup_platform.stream.redecide.moves import KEPT_COMMANDS
from neardup_platform.testing import LSH_DIM, CosineScorer, families, image
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.topics import DECISIONS
from tests.stream.control_machine import NOW_MS, ControlMachine, Killed, command
from tests.stream.rearranged import assert_sound, heads
from tests.stream.redecide.conftest import Make, Selections, commands_over
from tests.stream.reprocess.conftest import LOOSE

IMAGES = families(12, 4)
IDS = [each.image_id for each in IMAGES]
FAST = {"images_per_s": "100000"}
STRICT = {"threshold": "0.985", "head_threshold": "0.985", **FAST}
LOOSE_AGAIN = {"threshold": "0.9", "head_threshold": "0.8", **FAST}


class Blind(CosineScorer):
    """Finds no two images alike."""

    def score(self, a: ImageVectors, rows_a: Ordinals, b: ImageVectors, rows_b: Ordinals) -> NDArray[np.float32]:
        return 0 * super().score(a, rows_a, b, rows_b)


def pair_score(machine: ControlMachine, one: str, other: str) -> float:
    records = machine.store.images.find_many([one, other])
    return machine.pipeline.pair_score(*(record.ordinal for record in records if record is not None))


def decisions(machine: ControlMachine, image_id: str) -> list[pb.Decision]:
    return [pb.Decision.FromString(data) for data in machine.store.history.all(image_id)]


def published(machine: ControlMachine) -> list[pb.Decision]:
    return [pb.Decision.FromString(e.value) for _, e in machine.store.outbox.pending() if e.topic == DECISIONS]


def redecide(command_id: str, **arguments: str) -> bytes:
    return command("redecide", command_id, NOW_MS, **arguments)


def run_one(machine: ControlMachine) -> pb.CommandResult:
    (result,) = machine.run()
    return result


def accepted(machine: ControlMachine) -> pb.CommandResult:
    result = run_one(machine)
    assert result.accepted, result.reason
    return result


def test_stricter_thresholds_set_images_apart_and_every_member_that_moved_reaches_them(
    make: Make, selections: Selections, tmp_path: Path
) -> None:
    one = make(redecide("c1", selection=selections.put(IDS), **STRICT))
    one.decide(IMAGES)
    before = heads(one.store)
    result = accepted(one)
    after = heads(one.store)
    moved = {image_id for image_id in IDS if after[image_id] != before[image_id]}
    assert (result.values["images"], int(result.values["moved"])) == (str(len(IDS)), len(moved))
    assert moved
    assert int(result.values["clusters"]) == len(set(after.values())) > len(set(before.values()))
    for image_id in IDS:
        if after[image_id] != image_id:
            assert pair_score(one, image_id, after[image_id]) >= 0.985
    assert_sound(one.worker, tmp_path / "scratch")


def test_a_dry_run_says_what_would_move_and_changes_nothing(make: Make, selections: Selections) -> None:
    key = selections.put(IDS)
    one = make(redecide("c1", selection=key, dry_run="true", **STRICT))
    one.decide(IMAGES)
    before, state = heads(one.store), one.store.state()
    tried = accepted(one)
    assert heads(one.store) == before
    assert (one.store.state().digest, one.store.state().sequence) == (state.digest, state.sequence)
    assert all(decision.cause == "" for decision in published(one))
    two = make(redecide("c2", selection=key, **STRICT))
    done = accepted(two)
    assert tried.values["dry_run"] == "true"
    for name in ("images", "moved", "founded", "clusters", "clusters_before", "kept_heads", "examples"):
        assert tried.values[name] == done.values[name], name


def test_only_what_moves_is_published_with_its_cause_and_the_others_keep_their_decision(
    make: Make, selections: Selections
) -> None:
    one = make(redecide("c1", selection=selections.put(IDS), **STRICT))
    one.decide(IMAGES)
    before = heads(one.store)
    accepted(one)
    again = [decision for decision in published(one) if decision.cause == "reprocess"]
    after = heads(one.store)
    assert {d.image_id: d.head for d in again} == {i: after[i] for i in IDS if after[i] != before[i]}
    sequences = [decision.sequence for decision in published(one)]
    assert sequences == sorted(set(sequences))
    for image_id in IDS:
        made = decisions(one, image_id)
        assert len(made) == 1 + (after[image_id] != before[image_id])
        assert made[-1].threshold == pytest.approx(0.985 if len(made) == 2 else 0.9)


def test_images_that_are_not_chosen_stay_and_hold_their_heads(make: Make, selections: Selections) -> None:
    one = make()
    one.decide(IMAGES)
    before = heads(one.store)
    chosen = sorted(set(before.values()))[:6]
    two = make(redecide("c1", selection=selections.put([*chosen, "unknown"]), **STRICT))
    result = accepted(two)
    assert heads(two.store) == before
    assert {name: result.values[name] for name in ("images", "unknown", "moved", "kept_heads")} == {
        "images": "6",
        "unknown": "1",
        "moved": "0",
        "kept_heads": str(sum(list(before.values()).count(head) > 1 for head in chosen)),
    }


def test_the_candidates_of_another_classifier_are_searched_and_scored_again(make: Make, selections: Selections) -> None:
    """A worker whose classifier finds nothing, as a bad one may, records nothing to decide by."""
    one = make()
    one.pipeline.use_classifier(Blind(), LOOSE)
    one.decide(IMAGES)
    assert len(set(heads(one.store).values())) == len(IDS)
    two = make(redecide("c1", selection=selections.put(IDS), classifier="another", **FAST))
    result = accepted(two)
    good = heads(two.store)
    assert int(result.values["searched"]) == len(IDS)
    assert all(head.split("/")[0] == image_id.split("/")[0] for image_id, head in good.items())
    assert len(set(good.values())) < len(IDS) / 2
    made = decode_decision(two.store.history.current(next(i for i in IDS if good[i] != i)))
    assert (made.classifier_version, made.cause) == ("another", "reprocess")


@pytest.mark.parametrize("kill_at", ["prepared:1", "stage_committed:1", "prepared:3", "stage_committed:3"])
def test_a_kill_anywhere_ends_in_the_same_state(
    make: Make, selections: Selections, tmp_path: Path, kill_at: str
) -> None:
    key = selections.put(IDS)
    one = make(redecide("c1", selection=key, **STRICT), kill_at=kill_at)
    one.decide(IMAGES)
    with pytest.raises(Killed):
        one.run()
    again = make()
    accepted(again)
    killed = heads(again.store)
    assert_sound(again.worker, tmp_path / "scratch")
    assert int(again.published()[-1].values["images"]) == len(IDS)
    unharmed = ControlMachine(
        tmp_path / "unharmed", [redecide("c1", selection=key, **STRICT)], commands_over(selections), ""
    )
    with closing(unharmed):
        unharmed.decide(IMAGES)
        accepted(unharmed)
        assert killed == heads(unharmed.store)


def test_undo_returns_every_image_and_can_be_undone(make: Make, selections: Selections, tmp_path: Path) -> None:
    one = make(redecide("first", selection=selections.put(IDS), **STRICT))
    one.decide(IMAGES)
    before = one.store.state()
    moved = accepted(one).values["moved"]
    apart = one.store.state()
    two = make(redecide("tried", undo="first", dry_run="true"))
    assert accepted(two).values["moved"] == moved
    assert two.store.state().digest == apart.digest
    three = make(redecide("second", undo="first", **FAST))
    result = accepted(three)
    assert (result.values["moved"], result.values["skipped"]) == (moved, "0")
    assert (three.store.state().digest, three.store.state().clusters) == (before.digest, before.clusters)
    assert_sound(three.worker, tmp_path / "scratch")
    four = make(redecide("third", undo="second", **FAST))
    accepted(four)
    assert (four.store.state().digest, four.store.state().clusters) == (apart.digest, apart.clusters)
    assert_sound(four.worker, tmp_path / "scratch")


@pytest.mark.parametrize("kill_at", ["stage_committed:1", "prepared:2", "stage_committed:3"])
def test_an_undo_that_is_killed_goes_on(make: Make, selections: Selections, tmp_path: Path, kill_at: str) -> None:
    one = make(redecide("first", selection=selections.put(IDS), **STRICT))
    one.decide(IMAGES)
    before = one.store.state().digest
    accepted(one)
    two = make(redecide("second", undo="first", **FAST), kill_at=kill_at)
    with pytest.raises(Killed):
        two.run()
    three = make()
    accepted(three)
    assert three.store.state().digest == before
    assert_sound(three.worker, tmp_path / "scratch")


def test_undo_leaves_what_was_corrected_or_forgotten_since(make: Make, selections: Selections, tmp_path: Path) -> None:
    one = make(redecide("first", selection=selections.put(IDS), **STRICT))
    one.decide(IMAGES)
    before = heads(one.store)
    accepted(one)
    sizes = {head: record.size for head, record in one.store.clusters.all()}
    more = [move.image_id for _, move in one.store.commands.moves("first")]
    gone, kept, *_ = (image_id for image_id in more if sizes.get(image_id, 1) == 1)
    elsewhere = next(i for i in IDS if i not in more and i.split("/")[0] != kept.split("/")[0])
    one.worker.run_command("override", action="move", image_id=kept, other_id=elsewhere)
    one.worker.run_command("forget", image_id=gone)
    two = make(redecide("second", undo="first", **FAST))
    result = accepted(two)
    assert result.values["skipped"] == "2"
    after = heads(two.store)
    assert gone not in after
    assert after[kept] == after[elsewhere]
    untouched = [i for i in IDS if i not in (gone, kept, elsewhere)]
    assert {i: after[i] for i in untouched} == {i: before[i] for i in untouched}
    assert_sound(two.worker, tmp_path / "scratch")


def test_overrides_hold(make: Make, selections: Selections, tmp_path: Path) -> None:
    one = make(b"the place in the topic of the corrections")
    one.decide(IMAGES)
    where = heads(one.store)
    head = max(set(where.values()), key=list(where.values()).count)
    alone, apart, linked = [i for i in IDS if where[i] == head and i != head][:3]
    stranger = next(i for i in IDS if where[i] != head)
    one.worker.run_command("override", action="alone", image_id=alone)
    one.worker.run_command("override", action="forbid", image_id=apart, other_id=head)
    one.worker.run_command("override", action="move", image_id=linked, other_id=stranger)
    two = make(redecide("c1", selection=selections.put(IDS), **LOOSE_AGAIN))
    result = accepted(two)
    after = heads(two.store)
    assert after[alone] == alone
    assert after[apart] != after[head]
    assert after[linked] == after[stranger]
    assert int(result.values["overridden"]) >= 1
    assert_sound(two.worker, tmp_path / "scratch")


def test_the_stream_goes_on_meanwhile(make: Make, selections: Selections, tmp_path: Path) -> None:
    first, later = IMAGES[:40], [IMAGES[40:50], IMAGES[50:]]
    one = make(redecide("c1", selection=selections.put([each.image_id for each in first]), **STRICT))
    one.decide(first)

    def stream() -> None:
        if later:
            one.decide(later.pop(0))

    (result,) = one.run(between=stream)
    assert result.accepted, result.reason
    assert not later
    assert one.store.state().images == len(IMAGES)
    assert_sound(one.worker, tmp_path / "scratch")


def test_a_cluster_whose_images_all_move_leaves_a_redirect(make: Make, selections: Selections) -> None:
    """Two clusters that a looser threshold joins: the younger head goes to the older one."""
    rng = np.random.default_rng(3)
    base = rng.standard_normal(LSH_DIM)
    base /= np.linalg.norm(base)
    aside = rng.standard_normal(LSH_DIM)
    aside -= (aside @ base) * base
    near = 0.85 * base + np.sqrt(1 - 0.85**2) * aside / np.linalg.norm(aside)
    images = [image("a", base), image("b", near), image("b2", near + 0.001 * rng.standard_normal(LSH_DIM))]
    one = make()
    one.decide(images)
    assert heads(one.store) == {"a": "a", "b": "b", "b2": "b"}
    score = pair_score(one, "a", "b")
    low = {"threshold": f"{score - 0.05:.3f}", "head_threshold": f"{score - 0.05:.3f}", **FAST}
    two = make(redecide("c1", selection=selections.put(["b", "b2"]), **low))
    result = accepted(two)
    assert heads(two.store) == dict.fromkeys(("a", "b", "b2"), "a")
    assert (result.values["moved"], result.values["clusters"]) == ("2", "1")
    assert two.store.redirects.resolve("b") == "a"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "either `selection`"),
        ({"selection": "selections/none"}, "selections/none cannot be read"),
        ({"undo": "nothing"}, "has moved no image"),
        ({"undo": "x", "threshold": "0.5"}, "an undo takes no thresholds"),
        ({"selection": "selections/0", "threshold": "1.5"}, "threshold"),
        ({"selection": "selections/0", "images_per_s": "0"}, "images_per_s"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    make: Make, selections: Selections, arguments: dict[str, str], says: str
) -> None:
    selections.put(IDS)
    one = make(redecide("c1", **arguments))
    one.decide(IMAGES)
    result = run_one(one)
    assert not result.accepted
    assert says in result.reason


def test_a_selection_that_is_replaced_meanwhile_is_refused(make: Make, selections: Selections) -> None:
    key = selections.put(IDS)
    one = make(redecide("c1", selection=key, **STRICT), kill_at="stage_committed:2")
    one.decide(IMAGES)
    with pytest.raises(Killed):
        one.run()
    selections.replace(key, IDS[::-1])
    result = run_one(make())
    assert not result.accepted
    assert "was replaced on S3 after 32 images" in result.reason


def test_only_the_newest_commands_can_be_undone(make: Make, selections: Selections) -> None:
    key = selections.put(IDS)
    sent = [redecide(f"c{n:02}", selection=key, **(LOOSE_AGAIN if n % 2 else STRICT)) for n in range(KEPT_COMMANDS + 2)]
    one = make(*sent)
    one.decide(IMAGES)
    assert all(result.accepted and int(result.values["moved"]) for result in one.run())
    movers = [mover for _, mover in one.store.commands.movers()]
    assert movers == [f"c{n:02}" for n in range(2, KEPT_COMMANDS + 2)]
    rows = sum(1 for _ in one.store.scan(Table.MOVES))
    assert rows == len(movers) + sum(len(list(one.store.commands.moves(mover))) for mover in movers)
