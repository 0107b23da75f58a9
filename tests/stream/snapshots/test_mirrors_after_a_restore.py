"""A mirror of the decisions, applied by sequence, equals the store through every restore."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neardup_platform.matching import Matching
from neardup_platform.settings import Settings
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Store
from neardup_platform.stream.snapshots import compensation
from neardup_platform.testing import MAX_REPRESENTATIVES, families
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import DECISIONS
from tests.stream.control_machine import ControlMachine, Killed, Machines, command
from tests.stream.corrected import corrections, give_up, snapshot
from tests.stream.reprocess.test_reprocess import assert_agrees

IMAGES = families(20, 4)
# A bad classifier: nearly everything matches.
BAD = Matching(1_000, 0, 0.05, 0.05, MAX_REPRESENTATIVES)
Make = Callable[..., ControlMachine]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    machines = Machines(tmp_path / "home", give_up)
    yield partial(machines.start, partial(corrections, Settings(home=tmp_path / "home")))
    machines.end()


def decisions(store: StoreView) -> list[pb.Decision]:
    """Everything that was published; the outbox is not emptied here."""
    return [pb.Decision.FromString(e.value) for _, e in store.outbox.pending(1) if e.topic == DECISIONS]


def mirror(store: StoreView) -> dict[str, str]:
    """Image → head as a consumer holds it, who applies decisions by sequence."""
    heads: dict[str, str] = {}
    for decision in sorted(decisions(store), key=lambda decision: decision.sequence):
        if decision.replaced_head:
            heads = {i: decision.head if head == decision.replaced_head else head for i, head in heads.items()}
        heads[decision.image_id] = decision.head
    return {image_id: head for image_id, head in heads.items() if head}


def assert_mirrored(store: Store) -> None:
    assert mirror(store) == dict(store.images.heads())
    said = decisions(store)
    assert len({decision.event_id for decision in said}) == len(said)
    assert max(decision.sequence for decision in said) <= store.state().sequence


def damaged(make: Make, home: Path) -> tuple[ControlMachine, bytes]:
    """A worker that a bad classifier has damaged since a snapshot, and its digest."""
    one = make()
    one.decide(IMAGES[:50])
    snapshot(one.store, home / "before")
    good = one.pipeline.matching
    one.pipeline.use_classifier(one.pipeline.scorer, BAD)
    one.decide(IMAGES[50:65])
    one.log.append(command("forget", "f1", image_id=IMAGES[40].image_id))
    one.run()
    one.log.append(command("reprocess", "p1"))
    one.run_until_replaced()
    two = make()
    assert two.pipeline.matching == good
    two.pipeline.use_classifier(two.pipeline.scorer, BAD)
    two.decide(IMAGES[65:])
    heads = dict(two.store.images.heads())
    moved = IMAGES[0].image_id
    other = next(image_id for image_id, head in heads.items() if head != heads[moved])
    two.log.append(command("override", "o1", action="move", image_id=moved, other_id=other))
    two.run()
    assert_mirrored(two.store)
    return two, two.store.state().digest


KILLS = ["prepared", "stage_committed", "prepared:2", "command_committed"]


@pytest.mark.parametrize("kill_at", ["", *KILLS])
def test_through_a_bad_classifier_a_rollback_and_the_replay(make: Make, tmp_path: Path, kill_at: str) -> None:
    one, digest = damaged(make, tmp_path / "home")
    published = len(decisions(one.store))
    if kill_at:
        with pytest.raises(Killed):
            make(command("restore", "r1", snapshot="before"), kill_at=kill_at).run()
        again = make()
        assert again.store.state().digest == digest
        assert len(decisions(again.store)) == published
        again.run_until_replaced()
    else:
        one.log.append(command("restore", "r1", snapshot="before"))
        one.run_until_replaced()
    two = make()
    assert_mirrored(two.store)
    assert_agrees(two.store)
    result = two.published()[-1]
    compensating = [decision for decision in decisions(two.store) if decision.cause == "rollback"]
    gone = {decision.image_id for decision in compensating if not decision.head}
    assert gone == {image.image_id for image in IMAGES[50:]}
    assert int(result.values["published_gone"]) == len(gone)
    assert int(result.values["published_again"]) == len(compensating) - len(gone) > 0
    assert {decision.override_id for decision in compensating} == {"r1"}
    for decision in compensating:
        if decision.head:
            current = two.store.images.find(decision.image_id)
            assert current is not None
            assert (current.sequence, two.store.history.has(decision.image_id, decision.sequence)) == (
                decision.sequence,
                True,
            )
    # Half of what came since is read from Kafka again; the rest is lost, and stays gone.
    two.decide(IMAGES[50:65])
    assert_mirrored(two.store)
    assert_agrees(two.store)
    two.log.append(command("restore", "r2", undo="true"))
    two.run_until_replaced()
    three = make()
    assert_mirrored(three.store)
    assert_agrees(three.store)


def test_a_rollback_with_the_replay_ends_where_the_damage_never_was(make: Make, tmp_path: Path) -> None:
    one = make()
    one.decide(IMAGES[:50])
    snapshot(one.store, tmp_path / "home" / "before")
    one.decide(IMAGES[50:])
    undamaged = one.store.state().digest
    one.pipeline.use_classifier(one.pipeline.scorer, BAD)
    one.log.append(command("reprocess", "p1"))
    one.run_until_replaced()
    two = make(command("restore", "r1", snapshot="before"))
    two.run_until_replaced()
    three = make()
    three.decide(IMAGES[50:])
    assert three.store.state().digest == undamaged
    assert_mirrored(three.store)


@given(cut=st.integers(1, 79), lost=st.integers(0, 20), chunk=st.integers(1, 7))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_decided_since(tmp_path_factory: pytest.TempPathFactory, cut: int, lost: int, chunk: int) -> None:
    home = tmp_path_factory.mktemp("mirror") / "home"
    machines = Machines(home, give_up)
    make = partial(machines.start, partial(corrections, Settings(home=home)))
    one = make()
    one.decide(IMAGES[:cut])
    snapshot(one.store, home / "before")
    one.pipeline.use_classifier(one.pipeline.scorer, BAD)
    one.decide(IMAGES[cut:])
    one.log.append(command("restore", "r1", snapshot="before"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compensation, "_CHUNK", chunk)
        one.run_until_replaced()
    two = make()
    assert_mirrored(two.store)
    two.decide(IMAGES[cut + lost :])
    assert_mirrored(two.store)
    machines.end()
