"""Claims about corrections while images are not where overrides want them, as after a rollback, and over damage."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from neardup_platform.errors import InvariantBroken
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.testing import MODELS, InMemoryWorker, small_index, small_term_space
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision
from tests.stream.control_machine import ControlMachine, Machines, command
from tests.stream.corrected import corrections, give_up, snapshot
from tests.stream.corrections.test_overrides import near, newer
from tests.stream.rearranged import assert_overrides_are_met, assert_same_corpus, assert_store_agrees, heads

A = [near(0, "a0"), near(0, "a1", 10)]
B = [near(1, "b0"), near(1, "b1", 10), near(1, "b2", 12)]
HEADS = {"a0": "a0", "a1": "a0", "b0": "b0", "b1": "b0", "b2": "b0"}


class Operated:
    """A worker that carries out one command after the other, and is opened again after a replaced store."""

    def __init__(self, home: Path) -> None:
        self._settings = Settings(home=home)
        self._machines = Machines(home, give_up)
        self._sent = 0
        self.start()

    def start(self) -> None:
        self.machine: ControlMachine = self._machines.start(partial(corrections, self._settings))

    @property
    def store(self) -> Store:
        return self.machine.store

    def run_command(self, name: str, **arguments: str) -> pb.CommandResult:
        self._sent += 1
        self.machine.log.append(command(name, f"c{self._sent}", **arguments))
        results = self.machine.run()
        if not self.machine.replaced:
            (result,) = results
            return result
        self.start()
        return self.machine.published()[-1]

    def override(self, action: str, image_id: str, other: str = "") -> str:
        arguments = {"other_id": other} if other else {}
        result = self.run_command("override", action=action, image_id=image_id, **arguments)
        assert result.accepted, result.reason
        self.check()
        return result.command_id

    def snapshot(self, name: str = "then") -> None:
        snapshot(self.store, self._settings.home / name)

    def roll_back(self, name: str = "then") -> None:
        assert self.run_command("restore", snapshot=name).accepted
        self.check()

    def check(self) -> None:
        assert_store_agrees(self.store)

    def close(self) -> None:
        self._machines.end()


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Operated]:
    with closing(Operated(tmp_path / "home")) as operated:
        operated.machine.decide(A + B)
        assert heads(operated.store) == HEADS
        operated.snapshot()
        yield operated


def by(operated: Operated, image_id: str) -> tuple[str, str]:
    made = decode_decision(operated.store.history.current(image_id))
    return made.head, made.override_id


def test_an_image_whose_link_is_not_satisfied_leaves_only_its_own_cluster(operated: Operated) -> None:
    first = operated.override("move", "a1", "b1")
    operated.roll_back()
    assert heads(operated.store) == HEADS
    second = operated.override("move", "b1", "a0")
    assert heads(operated.store) == HEADS | {"b1": "a0"}
    assert operated.store.members.page("a0", 10).image_ids == ("a0", "a1", "b1")
    assert (operated.store.clusters.get("a0").size, operated.store.clusters.get("b0").size) == (3, 2)
    assert by(operated, "b1") == ("a0", second)
    for image_id in ("b2", "b0"):
        operated.override("alone", image_id)
    assert heads(operated.store) == HEADS | {"b1": "a0", "b2": "b2"}
    operated.machine.decide([near(1, "b3", 3)])
    assert heads(operated.store)["b3"] in ("b0", "b2")
    assert operated.run_command("forget", image_id="b0").accepted
    operated.check()
    assert first != second
    assert_overrides_are_met(operated.machine.worker)


def test_linked_images_join_from_any_cluster(operated: Operated) -> None:
    link = operated.override("move", "a1", "b1")
    operated.roll_back()
    alone = operated.override("alone", "b1")
    assert heads(operated.store) == HEADS | {"b1": "b1", "a1": "b1"}
    assert (by(operated, "b1"), by(operated, "a1")) == (("b1", alone), ("b1", link))


def test_images_linked_with_a_lone_image_join_it(operated: Operated) -> None:
    link = operated.override("move", "a0", "b0")
    operated.roll_back()
    for image_id in ("b1", "b2"):
        operated.override("alone", image_id)
    before = by(operated, "b0")
    operated.override("alone", "b0")
    assert heads(operated.store) == {"a0": "b0", "a1": "a1", "b0": "b0", "b1": "b1", "b2": "b2"}
    assert (by(operated, "a0"), by(operated, "b0")) == (("b0", link), before)
    assert operated.store.redirects.resolve("a0") == "a0"[:1] + "1"


def test_a_forbidden_image_joins_the_image_it_is_linked_with(operated: Operated) -> None:
    link = operated.override("move", "a1", "b1")
    operated.roll_back()
    operated.override("forbid", "a0", "a1")
    assert heads(operated.store) == HEADS | {"a1": "b0"}
    assert by(operated, "a1") == ("b0", link)


def test_what_is_forbidden_for_an_image_is_forbidden_for_all_linked_with_it(operated: Operated) -> None:
    operated.machine.decide([near(2, "far")])
    operated.snapshot("later")
    operated.override("move", "far", "b1")
    operated.override("forbid", "far", "a1")
    operated.roll_back()
    result = operated.run_command("override", action="move", image_id="a1", other_id="b1")
    assert not result.accepted
    assert "must not be with" in result.reason
    assert "remove it first" in result.reason
    assert operated.run_command("override", action="move", image_id="b2", other_id="a0").accepted
    operated.check()


def test_a_group_with_an_unknown_leader_follows_the_nearest_known_image(operated: Operated) -> None:
    operated.machine.decide([near(2, "far")])
    operated.override("move", "b1", "far")
    operated.override("move", "b2", "b1")
    operated.roll_back()
    forbidden = operated.override("forbid", "b0", "b1")
    assert heads(operated.store) == HEADS | {"b1": "b1", "b2": "b1"}
    assert by(operated, "b1") == ("b1", forbidden)


def spoil(store: Store, head: str, size: int) -> None:
    """Let a cluster say another size than it has."""
    cluster, batch = store.clusters.get(head), Batch()
    cluster.size = size
    batch.put(Table.CLUSTERS, head.encode(), cluster.SerializeToString())
    store.write(batch)


def everything(store: Store) -> list[tuple[bytes, bytes]]:
    tables = (
        Table.IMAGES,
        Table.MEMBERS,
        Table.CLUSTERS,
        Table.RECENT,
        Table.REDIRECTS,
        Table.VECTORS,
        Table.OVERRIDES,
    )
    return [row for table in tables for row in store.scan(table)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("override", {"action": "alone", "image_id": "b1"}),
        ("override", {"action": "move", "image_id": "a1", "other_id": "b1"}),
        ("override", {"action": "forbid", "image_id": "b0", "other_id": "b2"}),
        ("forget", {"image_id": "b0"}),
        ("forget", {"image_id": "b2"}),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_correction_of_damaged_clusters_is_refused_by_name_and_the_worker_continues(
    operated: Operated, name: str, arguments: dict[str, str], size: int
) -> None:
    spoil(operated.store, "b0", size)
    before = everything(operated.store)
    result = operated.run_command(name, **arguments)
    assert not result.accepted
    assert "'b0'" in result.reason
    assert "neardup doctor" in result.reason
    assert everything(operated.store) == before
    assert operated.run_command("override", action="alone", image_id="a1").accepted


def test_a_correction_of_an_image_that_its_cluster_does_not_list_is_refused(operated: Operated) -> None:
    record, batch = operated.store.images.find("b1"), Batch()
    assert record is not None
    batch.delete(Table.MEMBERS, layout.sequence_key("b0", listed_under(record)))
    operated.store.write(batch)
    for name, arguments in (("forget", {}), ("override", {"action": "alone"})):
        result = operated.run_command(name, image_id="b1", **arguments)
        assert not result.accepted
        assert "image 'b1' is not among the members of its head 'b0'" in result.reason


def test_a_re_embedding_over_damage_stops_the_worker_before_it_writes(operated: Operated) -> None:
    spoil(operated.store, "b0", 2)
    before = everything(operated.store)
    with pytest.raises(InvariantBroken, match="'b0'"):
        operated.machine.worker.re_embed(newer("b1", 0))
    assert everything(operated.store) == before


def test_images_that_join_no_cluster_or_are_known_are_not_written(operated: Operated) -> None:
    batch = Batch()
    batch.delete(Table.CLUSTERS, b"b0")
    operated.store.write(batch)
    before = everything(operated.store)
    with pytest.raises(InvariantBroken, match="'b3' joined the cluster of 'b0', which heads none"):
        operated.machine.decide([near(1, "b3", 1)])
    assert everything(operated.store) == before


def test_an_image_is_not_decided_as_new_twice(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(A)
        with pytest.raises(InvariantBroken, match="'a1' was decided as a new image and is known"):
            worker.decide([A[1]])
        assert worker.store.state().images == len(A)


def test_memory_and_store_agree_after_every_operation(operated: Operated, tmp_path: Path) -> None:
    operated.override("move", "a1", "b1")
    operated.override("move", "a0", "a1")
    operated.roll_back()
    operated.override("alone", "b1")
    operated.machine.worker.re_embed(newer("b1", 0))
    assert_store_agrees(operated.store)
    found, scratch = operated.machine.worker.corpus, tmp_path / "scratch"
    expected = rebuild_corpus(
        operated.store,
        small_term_space(),
        MODELS,
        lambda source: small_index(source, scratch / "index"),
        scratch / "vectors",
    )
    assert_same_corpus(found, expected)
    expected.close()
