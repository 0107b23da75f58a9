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


class Told:
    """A worker that is told one thing after the other, and started again where it must be."""

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

    def tell(self, name: str, **arguments: str) -> pb.CommandResult:
        self._sent += 1
        self.machine.log.append(command(name, f"c{self._sent}", **arguments))
        results = self.machine.run()
        if not self.machine.replaced:
            (result,) = results
            return result
        self.start()
        return self.machine.published()[-1]

    def lay_down(self, action: str, image_id: str, other: str = "") -> str:
        arguments = {"other_id": other} if other else {}
        result = self.tell("override", action=action, image_id=image_id, **arguments)
        assert result.accepted, result.reason
        self.check()
        return result.command_id

    def snapshot(self, name: str = "then") -> None:
        snapshot(self.store, self._settings.home / name)

    def roll_back(self, name: str = "then") -> None:
        assert self.tell("restore", snapshot=name).accepted
        self.check()

    def check(self) -> None:
        assert_store_agrees(self.store)

    def close(self) -> None:
        self._machines.end()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    with closing(Told(tmp_path / "home")) as told:
        told.machine.decide(A + B)
        assert heads(told.store) == HEADS
        told.snapshot()
        yield told


def by(told: Told, image_id: str) -> tuple[str, str]:
    made = decode_decision(told.store.history.current(image_id))
    return made.head, made.override_id


def test_an_image_whose_link_is_not_satisfied_leaves_only_its_own_cluster(told: Told) -> None:
    first = told.lay_down("move", "a1", "b1")
    told.roll_back()
    assert heads(told.store) == HEADS
    second = told.lay_down("move", "b1", "a0")
    assert heads(told.store) == HEADS | {"b1": "a0"}
    assert told.store.members.page("a0", 10).image_ids == ("a0", "a1", "b1")
    assert (told.store.clusters.get("a0").size, told.store.clusters.get("b0").size) == (3, 2)
    assert by(told, "b1") == ("a0", second)
    for image_id in ("b2", "b0"):
        told.lay_down("alone", image_id)
    assert heads(told.store) == HEADS | {"b1": "a0", "b2": "b2"}
    told.machine.decide([near(1, "b3", 3)])
    assert heads(told.store)["b3"] in ("b0", "b2")
    assert told.tell("forget", image_id="b0").accepted
    told.check()
    assert first != second
    assert_overrides_are_met(told.machine.worker)


def test_linked_images_join_from_any_cluster(told: Told) -> None:
    link = told.lay_down("move", "a1", "b1")
    told.roll_back()
    alone = told.lay_down("alone", "b1")
    assert heads(told.store) == HEADS | {"b1": "b1", "a1": "b1"}
    assert (by(told, "b1"), by(told, "a1")) == (("b1", alone), ("b1", link))


def test_images_linked_with_a_lone_image_join_it(told: Told) -> None:
    link = told.lay_down("move", "a0", "b0")
    told.roll_back()
    for image_id in ("b1", "b2"):
        told.lay_down("alone", image_id)
    before = by(told, "b0")
    told.lay_down("alone", "b0")
    assert heads(told.store) == {"a0": "b0", "a1": "a1", "b0": "b0", "b1": "b1", "b2": "b2"}
    assert (by(told, "a0"), by(told, "b0")) == (("b0", link), before)
    assert told.store.redirects.resolve("a0") == "a0"[:1] + "1"


def test_a_forbidden_image_joins_the_image_it_is_linked_with(told: Told) -> None:
    link = told.lay_down("move", "a1", "b1")
    told.roll_back()
    told.lay_down("forbid", "a0", "a1")
    assert heads(told.store) == HEADS | {"a1": "b0"}
    assert by(told, "a1") == ("b0", link)


def test_what_is_forbidden_for_an_image_is_forbidden_for_all_linked_with_it(told: Told) -> None:
    told.machine.decide([near(2, "far")])
    told.snapshot("later")
    told.lay_down("move", "far", "b1")
    told.lay_down("forbid", "far", "a1")
    told.roll_back()
    result = told.tell("override", action="move", image_id="a1", other_id="b1")
    assert not result.accepted
    assert "must not be with" in result.reason
    assert "remove it first" in result.reason
    assert told.tell("override", action="move", image_id="b2", other_id="a0").accepted
    told.check()


def test_a_group_with_an_unknown_leader_follows_the_nearest_known_image(told: Told) -> None:
    told.machine.decide([near(2, "far")])
    told.lay_down("move", "b1", "far")
    told.lay_down("move", "b2", "b1")
    told.roll_back()
    forbidden = told.lay_down("forbid", "b0", "b1")
    assert heads(told.store) == HEADS | {"b1": "b1", "b2": "b1"}
    assert by(told, "b1") == ("b1", forbidden)


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
    told: Told, name: str, arguments: dict[str, str], size: int
) -> None:
    spoil(told.store, "b0", size)
    before = everything(told.store)
    result = told.tell(name, **arguments)
    assert not result.accepted
    assert "'b0'" in result.reason
    assert "neardup doctor" in result.reason
    assert everything(told.store) == before
    assert told.tell("override", action="alone", image_id="a1").accepted


def test_a_correction_of_an_image_that_its_cluster_does_not_list_is_refused(told: Told) -> None:
    record, batch = told.store.images.find("b1"), Batch()
    assert record is not None
    batch.delete(Table.MEMBERS, layout.sequence_key("b0", listed_under(record)))
    told.store.write(batch)
    for name, arguments in (("forget", {}), ("override", {"action": "alone"})):
        result = told.tell(name, image_id="b1", **arguments)
        assert not result.accepted
        assert "image 'b1' is not among the members of its head 'b0'" in result.reason


def test_a_re_embedding_over_damage_stops_the_worker_before_it_writes(told: Told) -> None:
    spoil(told.store, "b0", 2)
    before = everything(told.store)
    with pytest.raises(InvariantBroken, match="'b0'"):
        told.machine.worker.re_embed(newer("b1", 0))
    assert everything(told.store) == before


def test_images_that_join_no_cluster_or_are_known_are_not_written(told: Told) -> None:
    batch = Batch()
    batch.delete(Table.CLUSTERS, b"b0")
    told.store.write(batch)
    before = everything(told.store)
    with pytest.raises(InvariantBroken, match="'b3' joined the cluster of 'b0', which heads none"):
        told.machine.decide([near(1, "b3", 1)])
    assert everything(told.store) == before


def test_an_image_is_not_decided_as_new_twice(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(A)
        with pytest.raises(InvariantBroken, match="'a1' was decided as a new image and is known"):
            worker.decide([A[1]])
        assert worker.store.state().images == len(A)


def test_memory_and_store_agree_after_every_operation(told: Told, tmp_path: Path) -> None:
    told.lay_down("move", "a1", "b1")
    told.lay_down("move", "a0", "a1")
    told.roll_back()
    told.lay_down("alone", "b1")
    told.machine.worker.re_embed(newer("b1", 0))
    assert_store_agrees(told.store)
    found, scratch = told.machine.worker.corpus, tmp_path / "scratch"
    expected = rebuild_corpus(
        told.store,
        small_term_space(),
        MODELS,
        lambda source: small_index(source, scratch / "index"),
        scratch / "vectors",
    )
    assert_same_corpus(found, expected)
    expected.close()
