"""Claims about overrides and clusters that change hands, in a worker without Kafka."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.errors import BadCommand, Conflict, NotFound
from neardup_platform.records import Decision, Embedding, JoinedImage, Kind
from neardup_platform.testing import LSH_DIM, InMemoryWorker, families, image
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.topics import DECISIONS
from tests.stream.rearranged import assert_sound, heads

AXES = np.eye(LSH_DIM)


def near(axis: int, name: str, degrees: float = 0.0) -> JoinedImage:
    """An image at an angle to an axis, in degrees; a match is within 25, a head agrees within 36."""
    angle = np.deg2rad(degrees)
    return image(name, np.cos(angle) * AXES[axis] + np.sin(angle) * AXES[axis + 8])


IMAGES = [
    near(0, "a"),
    near(0, "a1", 10),
    near(0, "a2", 12),
    near(1, "b"),
    near(1, "b1", 10),
    near(2, "lone"),
]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(IMAGES)
        assert heads(worker.store) == {"a": "a", "a1": "a", "a2": "a", "b": "b", "b1": "b", "lone": "lone"}
        yield worker
        assert_sound(worker, tmp_path / "scratch")


def add_override(worker: InMemoryWorker, action: str, image_id: str, other_id: str = "", **more: str) -> str:
    arguments = {"action": action, "image_id": image_id, **({"other_id": other_id} if other_id else {})}
    return worker.run_command("override", **arguments, **more).values["override_id"]


def decision(worker: InMemoryWorker, image_id: str) -> Decision:
    return decode_decision(worker.store.history.current(image_id))


def said(worker: InMemoryWorker) -> list[Decision]:
    """What was published beyond the decisions of the stream, in order."""
    found = [decode_decision(entry.value) for _, entry in worker.store.outbox.pending() if entry.topic == DECISIONS]
    return [decision for decision in found if decision.cause]


def members(worker: InMemoryWorker, head: str) -> list[str]:
    return list(worker.store.members.page(head, 100).image_ids)


def test_a_moved_member_is_in_the_other_cluster_and_its_decision_gives_the_reason(worker: InMemoryWorker) -> None:
    override_id = add_override(worker, "move", "a1", "b1", reason="a false match")
    assert members(worker, "a") == ["a", "a2"]
    assert members(worker, "b") == ["b", "b1", "a1"]
    made = decision(worker, "a1")
    assert (made.cause, made.override_id, made.head, made.bridges) == ("override", override_id, "b", ("a",))
    assert made.head_score < 0.3
    assert [decision.image_id for decision in said(worker)] == ["a1"]
    assert len(worker.store.history.all("a1")) == 2
    (stored,) = worker.store.overrides.all()
    assert (stored.issued_by, stored.reason, stored.sequence) == ("a test", "a false match", len(IMAGES))


def test_a_head_that_is_moved_leaves_its_cluster_to_the_oldest_representative(worker: InMemoryWorker) -> None:
    heir = worker.store.clusters.get("a").representatives[1]
    add_override(worker, "move", "a", "b")
    handed, moved = said(worker)
    assert (handed.cause, handed.image_id, handed.head, handed.replaced_head) == ("handover", heir, heir, "a")
    assert (moved.cause, moved.image_id, moved.head) == ("override", "a", "b")
    assert members(worker, heir) == ["a1", "a2"]
    assert worker.store.redirects.resolve("a") == heir
    assert decision(worker, heir) == handed


def test_members_keep_their_order_when_their_cluster_is_handed_over(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(families(1, 40))
        (head,) = set(heads(worker.store).values())
        before = members(worker, head)
        first = worker.store.clusters.get(head).representatives[1]
        worker.run_command("forget", image_id=head)
        assert members(worker, first) == before[1:]
        add_override(worker, "alone", before[-1])
        assert members(worker, first) == before[1:-1]
        assert_sound(worker, tmp_path / "scratch")


def test_a_new_head_that_was_not_searched_is_searched_from_then_on(tmp_path: Path) -> None:
    copies = [near(0, f"a{n}", 0.01 * n) for n in range(100)]
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(copies)
        assert worker.store.clusters.get("a0").representatives == ["a0"]
        worker.run_command("forget", image_id="a0")
        assert worker.store.redirects.resolve("a0") == "a1"
        assert worker.store.state().ordinals == 101
        # Enough strangers that the window has nothing of the family but its new head.
        worker.decide(
            [image(f"s{n}", v) for n, v in enumerate(np.random.default_rng(1).standard_normal((70, LSH_DIM)))]
        )
        worker.decide([near(0, "late", 0.5)])
        assert heads(worker.store)["late"] == "a1"
        assert_sound(worker, tmp_path / "scratch")


def test_an_only_member_that_is_moved_leaves_a_redirect(worker: InMemoryWorker) -> None:
    add_override(worker, "move", "lone", "b1")
    assert worker.store.redirects.resolve("lone") == "b"
    add_override(worker, "alone", "b")
    # It was searched, so the cluster is handed to it: now it heads one, and leads nowhere else.
    assert members(worker, "lone") == ["b1", "lone"]
    assert worker.store.redirects.resolve("lone") == "lone"


def test_an_image_set_alone_founds_a_cluster_even_if_it_headed_one(worker: InMemoryWorker) -> None:
    override_id = add_override(worker, "alone", "a")
    assert heads(worker.store)["a"] == "a"
    assert members(worker, "a") == ["a"]
    assert len({heads(worker.store)["a1"], heads(worker.store)["a2"], "a"}) == 2
    assert decision(worker, "a").override_id == override_id
    before = worker.store.state().sequence
    worker.run_command("override", action="remove", override_id=override_id)
    add_override(worker, "alone", "a")
    assert worker.store.state().sequence == before


def test_images_that_are_linked_move_as_one(worker: InMemoryWorker) -> None:
    first = add_override(worker, "move", "lone", "a2")
    second = add_override(worker, "move", "a2", "b")
    assert members(worker, "b") == ["b", "b1", "a2", "lone"]
    assert (decision(worker, "a2").override_id, decision(worker, "lone").override_id) == (second, first)


def test_forbidding_separates_two_images_and_the_later_one_joins_its_next_match(tmp_path: Path) -> None:
    images = [near(0, "a"), near(0, "far", 40), near(0, "between", 19)]
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(images)
        assert heads(worker.store) == {"a": "a", "far": "far", "between": "a"}
        override_id = add_override(worker, "forbid", "a", "between")
        assert heads(worker.store) == {"a": "a", "far": "far", "between": "far"}
        made = decision(worker, "between")
        assert (made.override_id, made.score >= 0.9, made.head_score >= 0.8) == (override_id, True, True)
        add_override(worker, "forbid", "between", "far")
        assert heads(worker.store)["between"] == "between"
        assert_sound(worker, tmp_path / "scratch")


def test_forbidding_keeps_the_head_and_moves_the_other(worker: InMemoryWorker) -> None:
    add_override(worker, "forbid", "a1", "a")
    assert heads(worker.store) == {"a": "a", "a1": "a1", "a2": "a", "b": "b", "b1": "b", "lone": "lone"}
    add_override(worker, "forbid", "b", "lone")
    assert len(said(worker)) == 1


def test_removing_an_override_changes_no_cluster(worker: InMemoryWorker) -> None:
    override_id = add_override(worker, "move", "a1", "b")
    before = worker.store.state()
    worker.run_command("override", action="remove", override_id=override_id)
    after = worker.store.state()
    assert (after.digest, after.sequence) == (before.digest, before.sequence)
    assert (worker.store.overrides.all(), len(worker.redeciding.overrides)) == ([], 0)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"action": "fly"}, BadCommand, "action is 'fly'"),
        ({"action": "move", "image_id": "a"}, BadCommand, "other_id"),
        ({"action": "alone", "image_id": "a", "other_id": "b"}, BadCommand, "takes the arguments"),
        ({"action": "alone", "image_id": "a", "reason": "x" * 501}, BadCommand, "501 characters"),
        ({"action": "move", "image_id": "a", "other_id": "nobody"}, NotFound, "'nobody' has not been decided"),
        ({"action": "forbid", "image_id": "nobody", "other_id": "a"}, NotFound, "'nobody'"),
        ({"action": "move", "image_id": "a", "other_id": "a"}, Conflict, "with itself"),
        ({"action": "remove", "override_id": "none"}, NotFound, "no override 'none'"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused_and_changes_nothing(
    worker: InMemoryWorker, arguments: dict[str, str], error: type[Exception], says: str
) -> None:
    before = worker.store.state()
    with pytest.raises(error, match=says):
        worker.run_command("override", **arguments)
    assert (worker.store.state(), worker.store.overrides.all()) == (before, [])


def test_a_move_that_an_earlier_override_forbids_is_refused_by_its_name(worker: InMemoryWorker) -> None:
    override_id = add_override(worker, "forbid", "a1", "b1")
    with pytest.raises(Conflict, match=override_id):
        add_override(worker, "move", "a1", "b")
    assert heads(worker.store)["a1"] == "a"


def newer(image_id: str, axis: int, degrees: float = 0.0) -> Embedding:
    vector = near(axis, image_id, degrees).lsh.vector
    return Embedding(image_id, Kind.LSH, "newer", vector, 2_000)


def test_a_re_embedded_member_goes_where_it_matches_now(worker: InMemoryWorker) -> None:
    worker.re_embed(newer("a1", 1, 5))
    made = decision(worker, "a1")
    assert (made.head, made.cause, made.override_id) == ("b", "re-embedded", "")
    assert "a1" not in {candidate.image_id for candidate in made.candidates}
    record = worker.store.images.find("a1")
    assert record is not None
    assert worker.store.vectors.get(record.ordinal).lsh_version == "newer"
    assert worker.store.vectors.find(1) is None
    assert len(worker.store.history.all("a1")) == 2


def test_a_re_embedded_head_of_others_stays_their_head(worker: InMemoryWorker) -> None:
    worker.re_embed(newer("a", 1))
    assert members(worker, "a") == ["a", "a1", "a2"]
    made = decision(worker, "a")
    assert (made.head, made.cause, made.bridges) == ("a", "re-embedded", ("b",))
    worker.decide([near(1, "new", 3)])
    assert heads(worker.store)["new"] in ("a", "b")


def test_a_replaced_member_is_decided_again_by_its_new_picture_and_keeps_nothing_of_the_old(
    worker: InMemoryWorker, tmp_path: Path
) -> None:
    other = near(1, "a1", 5)
    worker.replace(other)
    made = decision(worker, "a1")
    assert (made.head, made.cause) == ("b", "replaced")
    record = worker.store.images.find("a1")
    assert record is not None
    stored = worker.store.vectors.get(record.ordinal)
    assert stored.lsh == other.lsh.vector.astype("<f2").tobytes()
    assert stored.pair == other.pair.vector.astype("<f2").tobytes()
    assert record.source_uri == other.source_uri
    assert worker.store.vectors.find(1) is None
    assert_sound(worker, tmp_path / "scratch")


def test_a_replaced_head_leaves_its_members_to_another_and_goes_where_its_new_picture_belongs(
    worker: InMemoryWorker, tmp_path: Path
) -> None:
    worker.replace(near(1, "a", 5))
    assert heads(worker.store) | {"b1": "b"} == heads(worker.store)
    assert (heads(worker.store)["a"], decision(worker, "a").cause) == ("b", "replaced")
    assert heads(worker.store)["a1"] == heads(worker.store)["a2"] == "a1"
    assert decision(worker, "a1").replaced_head == "a"
    assert_sound(worker, tmp_path / "scratch")


def test_a_replaced_image_stays_with_those_it_is_linked_with(worker: InMemoryWorker, tmp_path: Path) -> None:
    add_override(worker, "move", "lone", "a")
    worker.replace(near(1, "a"))
    assert members(worker, "a") == ["a", "a1", "a2", "lone"]
    assert_sound(worker, tmp_path / "scratch")


def test_a_re_embedded_image_goes_by_its_overrides(worker: InMemoryWorker) -> None:
    linked = add_override(worker, "move", "lone", "a2")
    apart = add_override(worker, "forbid", "a1", "b1")
    worker.re_embed(newer("lone", 1))
    worker.re_embed(newer("a1", 1))
    assert (heads(worker.store)["lone"], decision(worker, "lone").override_id) == ("a", linked)
    assert (heads(worker.store)["a1"], decision(worker, "a1").override_id) == ("a1", apart)


def test_overrides_hold_after_a_restart(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(IMAGES)
        add_override(worker, "forbid", "a1", "b1")
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.re_embed(newer("a1", 1))
        assert heads(worker.store)["a1"] == "a1"
        assert_sound(worker, tmp_path / "scratch")
