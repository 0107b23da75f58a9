"""Claims about merges, splits and quarantines over restores, reprocessing, kills and random sequences of overrides."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.clusters.override_terms import is_met
from neardup_platform.stream.commit import commit
from neardup_platform.stream.corrections.deferred_overrides import deferred_overrides, deferred_step, unmet
from neardup_platform.testing import families
from tests.stream.control_machine import Killed, command
from tests.stream.corrections.test_overrides import IMAGES, near, newer
from tests.stream.corrections.test_unmet_links import Operated
from tests.stream.rearranged import assert_overrides_are_met, assert_store_agrees, heads

MERGE = {"action": "merge", "image_id": "a", "other_id": "b"}
SPLIT = {"action": "split", "image_id": "a", "image_ids": "a1\na2"}
QUARANTINE = {"action": "quarantine", "image_id": "a"}
HEADS = {"a": "a", "a1": "a", "a2": "a", "b": "b", "b1": "b", "lone": "lone"}
MERGED = HEADS | {"b": "a", "b1": "a"}
SPLIT_OFF = HEADS | {"a1": "a1", "a2": "a1"}


class Survivor(Operated):
    """A worker that applies, as it starts, what its store lists."""

    def start(self) -> None:
        super().start()
        for override_id in deferred_overrides(self.store):
            change = self.machine.worker.override_handler.apply_again(override_id)
            commit(self.store, self.store.state(), deferred_step(change, override_id), 0)
            self.machine.worker.corpus.follow(change.steps)

    def correct(self, arguments: dict[str, str]) -> None:
        result = self.run_command("override", **arguments)
        assert result.accepted, result.reason
        self.check()

    def reprocess(self) -> None:
        result = self.run_command("reprocess")
        assert result.accepted, result.reason
        self.check()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Survivor]:
    with closing(Survivor(tmp_path / "home")) as worker:
        worker.machine.decide(IMAGES)
        worker.snapshot()
        assert heads(worker.store) == HEADS
        yield worker
        worker.check()
        assert_overrides_are_met(worker.machine.worker)


@pytest.mark.parametrize(("arguments", "expected"), [(MERGE, MERGED), (SPLIT, SPLIT_OFF), (QUARANTINE, HEADS)])
def test_an_override_of_a_cluster_survives_reprocessing_and_a_restore(
    worker: Survivor, arguments: dict[str, str], expected: dict[str, str]
) -> None:
    worker.correct(arguments)
    assert heads(worker.store) == expected
    worker.reprocess()
    assert heads(worker.store) == expected
    worker.roll_back()
    assert heads(worker.store) == expected
    worker.machine.decide([near(0, "new", 3), near(1, "new-b", 3)])
    now = heads(worker.store)
    assert now["new-b"] == now["b"]
    assert (now["new"] == "new") == (arguments is QUARANTINE)
    worker.reprocess()
    assert heads(worker.store) == now
    assert worker.store.overrides.deferred() == []


def test_a_merge_of_clusters_with_late_heads_survives_reprocessing(worker: Survivor) -> None:
    """Their heads were searched again after all others were decided, so their clusters begin with other images."""
    for head in ("a", "b"):
        worker.machine.worker.re_embed(newer(head, 0 if head == "a" else 1))
    worker.correct(MERGE)
    worker.reprocess()
    assert len({head for image_id, head in heads(worker.store).items() if image_id != "lone"}) == 1


def test_a_restore_to_before_the_images_of_a_merge_meets_it_when_they_are_decided(tmp_path: Path) -> None:
    with closing(Survivor(tmp_path / "home")) as worker:
        worker.machine.decide(IMAGES[:1])
        worker.snapshot()
        worker.machine.decide(IMAGES[1:])
        worker.correct(MERGE)
        worker.correct({"action": "split", "image_id": "a", "image_ids": "a2\nb1"})
        before = heads(worker.store)
        worker.roll_back()
        assert heads(worker.store) == {"a": "a"}
        worker.machine.decide(IMAGES[1:])
        assert heads(worker.store) == before
        assert_overrides_are_met(worker.machine.worker)


@pytest.mark.parametrize("arguments", [MERGE, SPLIT, QUARANTINE], ids=["merge", "split", "quarantine"])
@pytest.mark.parametrize("point", ["prepared", "command_committed"])
def test_killed_at_any_step_the_store_is_as_before_or_as_after(
    tmp_path: Path, arguments: dict[str, str], point: str
) -> None:
    with closing(Survivor(tmp_path / "unharmed")) as unharmed:
        unharmed.machine.decide(IMAGES)
        before = unharmed.store.state().digest
        unharmed.correct(arguments)
        after, expected = unharmed.store.state().digest, heads(unharmed.store)
    with closing(Survivor(tmp_path / "home")) as worker:
        worker.machine.decide(IMAGES)
        worker.machine.kill_at(point)
        with pytest.raises(Killed):
            worker.run_command("override", **arguments)
        assert worker.store.state().digest == (before if point == "prepared" else after)
        worker.start()
        worker.machine.run()
        worker.check()
        assert (worker.store.state().digest, heads(worker.store)) == (after, expected)
        first = worker.machine.published()[-1]
        worker.machine.log.append(command("override", first.command_id, **arguments))
        worker.machine.run()
        assert worker.machine.published()[-1] == first
        assert (len(worker.store.overrides.all()), worker.store.state().digest) == (1, after)
        assert_overrides_are_met(worker.machine.worker)


POOL = families(5, 4, noise=0.2)
number = st.integers(0, len(POOL) - 1)
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["move", "forbid", "merge"]), number, number),
    st.tuples(st.sampled_from(["alone", "quarantine"]), number),
    st.tuples(st.just("split"), number, st.lists(number, min_size=1, max_size=4, unique=True)),
    st.tuples(st.just("remove"), number),
)


@settings(max_examples=max(5, settings.default.max_examples // 4), deadline=None)
@given(st.lists(ACTIONS, max_size=12))
def test_any_sequence_of_overrides_keeps_the_invariants_and_a_replay_meets_them_all(made: list[tuple]) -> None:
    with TemporaryDirectory(prefix="neardup-overrides-") as folder, closing(Survivor(Path(folder) / "home")) as worker:
        worker.machine.decide(POOL)
        for action in made:
            _try(worker, action)
            assert_store_agrees(worker.store)
        worker.reprocess()
        left = [
            override
            for override in unmet(worker.store, worker.store.overrides.all())
            if override.action not in ("link", "alone")
        ]
        assert left == []


def _try(worker: Survivor, action: tuple) -> None:
    """Send an override; if it is accepted, it is met at once, and if not, nothing changes."""
    name, one, *more = action
    arguments = {"action": name, "image_id": POOL[one].image_id}
    if name == "remove":
        active = worker.store.overrides.all()
        arguments = {"action": name, "override_id": active[one % len(active)].override_id if active else "none"}
    elif name == "split":
        now = heads(worker.store)
        there = [image_id for image_id, head in sorted(now.items()) if head == now[arguments["image_id"]]]
        arguments["image_ids"] = "\n".join(dict.fromkeys(there[n % len(there)] for n in more[0]))
    elif more:
        arguments["other_id"] = POOL[more[0]].image_id
    before = worker.store.state().digest
    result = worker.run_command("override", **arguments)
    if not result.accepted:
        assert worker.store.state().digest == before
        return
    now = heads(worker.store)
    for override in worker.store.overrides.all():
        assert override.override_id != result.command_id or is_met(override, now.get), override
