"""Claims about merged and split clusters, in a worker without Kafka."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from neardup_platform.errors import BadCommand, Conflict, NotFound
from neardup_platform.testing import InMemoryWorker
from tests.stream.corrections.test_overrides import IMAGES, decision, members, near, newer, said
from tests.stream.rearranged import assert_sound, heads


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InMemoryWorker]:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(IMAGES)
        yield worker
        assert_sound(worker, tmp_path / "scratch")


def merge(worker: InMemoryWorker, one: str, other: str) -> str:
    result = worker.run_command("override", action="merge", image_id=one, other_id=other)
    return str(result.values["override_id"])


def split(worker: InMemoryWorker, head: str, *listed: str) -> str:
    result = worker.run_command("override", action="split", image_id=head, image_ids="\n".join(listed))
    return str(result.values["override_id"])


def test_a_merge_moves_every_image_of_the_smaller_cluster_and_publishes_two_decisions(worker: InMemoryWorker) -> None:
    result = worker.run_command("override", action="merge", image_id="a", other_id="b")
    assert members(worker, "a") == ["a", "a1", "a2", "b", "b1"]
    assert worker.store.redirects.resolve("b") == "a"
    renamed, moved = said(worker)
    assert (renamed.cause, renamed.image_id, renamed.head, renamed.replaced_head) == ("handover", "a", "a", "b")
    assert (moved.cause, moved.image_id, moved.head, moved.override_id) == (
        "override",
        "b",
        "a",
        result.values["override_id"],
    )
    values = {name: result.values[name] for name in ("head", "moved", "decisions", "clusters_before", "clusters")}
    assert values == {"head": "a", "moved": "2", "decisions": "2", "clusters_before": "3", "clusters": "2"}


def test_the_larger_cluster_survives_and_the_older_of_equal_ones(worker: InMemoryWorker) -> None:
    worker.decide([near(3, "c"), near(3, "c1", 10)])
    merge(worker, "c", "b")
    assert members(worker, "b") == ["b", "b1", "c", "c1"]
    merge(worker, "a", "b1")
    assert members(worker, "b") == ["a", "a1", "a2", "b", "b1", "c", "c1"]


def test_a_new_image_joins_a_merged_cluster_if_it_agrees_with_either_head(worker: InMemoryWorker) -> None:
    merge(worker, "a", "b")
    worker.decide([near(1, "like-b", 5), near(0, "like-a", 5), near(3, "else")])
    now = heads(worker.store)
    assert (now["like-b"], now["like-a"], now["else"]) == ("a", "a", "else")
    assert decision(worker, "like-b").head_score > 0.9
    assert decision(worker, "like-b").override_id == ""


def test_without_the_merge_a_new_image_founds_a_cluster(worker: InMemoryWorker) -> None:
    override_id = merge(worker, "a", "b")
    worker.run_command("override", action="remove", override_id=override_id)
    assert members(worker, "a") == ["a", "a1", "a2", "b", "b1"]
    worker.decide([near(1, "like-b", 5)])
    assert heads(worker.store)["like-b"] == "like-b"


def test_a_merge_survives_a_restart_and_newer_embeddings_of_its_heads(tmp_path: Path) -> None:
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.decide(IMAGES)
        merge(worker, "a", "b")
    with closing(InMemoryWorker(tmp_path / "home")) as worker:
        worker.re_embed(newer("b1", 1, 5))
        worker.re_embed(newer("b", 3))
        worker.decide([near(0, "a3", 3), near(3, "b2", 3)])
        assert set(heads(worker.store).values()) == {"a", "lone"}
        assert_sound(worker, tmp_path / "scratch")


def test_clusters_are_merged_in_chains_but_not_in_circles(worker: InMemoryWorker) -> None:
    first = merge(worker, "a", "b")
    second = merge(worker, "lone", "b1")
    assert set(heads(worker.store).values()) == {"a"}
    with pytest.raises(Conflict, match="in one cluster already, that of 'a'"):
        merge(worker, "b", "lone")
    for image_id, named in (("b", first), ("lone", second), ("a", f"{first}|{second}")):
        with pytest.raises(Conflict, match=f"({named}) .*is merged into.*remove it first"):
            worker.override("alone", image_id)
    with pytest.raises(Conflict, match=first):
        worker.override("forbid", "a", "b")


def test_a_merge_of_clusters_with_images_kept_apart_is_refused_by_the_name_of_the_override(
    worker: InMemoryWorker,
) -> None:
    apart = worker.override("forbid", "a2", "b1").values["override_id"]
    for one, other in (("a", "b"), ("b1", "a1")):
        with pytest.raises(Conflict, match=f"{apart} 'a2' must not be with 'b1'"):
            merge(worker, one, other)
    worker.override("alone", "lone")
    with pytest.raises(Conflict, match="'lone' founds a cluster and joins none"):
        merge(worker, "lone", "a")


def test_a_merge_that_moves_too_many_images_is_refused(worker: InMemoryWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neardup_platform.stream.corrections.whole_clusters.MAX_MERGED", 1)
    with pytest.raises(Conflict, match="the smaller cluster, of 'b', has 2 members, and a merge moves at most 1"):
        merge(worker, "a", "b")


def test_the_listed_images_of_a_split_found_a_cluster_and_never_come_back(worker: InMemoryWorker) -> None:
    override_id = split(worker, "a", "a2", "a1")
    assert (members(worker, "a"), members(worker, "a1")) == (["a"], ["a1", "a2"])
    assert [(made.image_id, made.head, made.override_id) for made in said(worker)] == [
        ("a1", "a1", override_id),
        ("a2", "a1", override_id),
    ]
    worker.re_embed(newer("a2", 0))
    worker.re_embed(newer("a", 0, 10))
    assert (members(worker, "a"), members(worker, "a1")) == (["a"], ["a1", "a2"])


def test_a_split_may_take_the_head_along(worker: InMemoryWorker) -> None:
    split(worker, "a", "a", "a2")
    assert (members(worker, "a"), members(worker, "a1")) == (["a", "a2"], ["a1"])
    (stored,) = worker.store.overrides.all()
    assert (stored.image_id, list(stored.image_ids), stored.other_id) == ("a", ["a2"], "a1")
    with pytest.raises(Conflict, match="and 1 image split off with it must not be with 'a1'"):
        merge(worker, "a", "a1")


def test_a_removed_split_lets_its_images_go_back(worker: InMemoryWorker) -> None:
    override_id = split(worker, "a", "a1", "a2")
    worker.run_command("override", action="remove", override_id=override_id)
    worker.re_embed(newer("a2", 0))
    worker.override("move", "a1", "a")
    assert members(worker, "a")[-1] == "a1"


def test_a_split_of_linked_images_is_refused_by_the_name_of_the_link(worker: InMemoryWorker) -> None:
    link = worker.override("move", "a2", "a").values["override_id"]
    for listed in (["a2"], ["a"], ["a1", "a2"]):
        with pytest.raises(Conflict, match=f"{link} 'a2' is linked to 'a': list both or neither"):
            split(worker, "a", *listed)
    split(worker, "a1", "a", "a2")
    assert members(worker, "a") == ["a", "a2"]
    for image_id in ("a", "a2"):
        with pytest.raises(Conflict, match="remove it first"):
            worker.override("move", image_id, "b")


def test_a_split_of_a_merged_cluster_keeps_its_heads_together(worker: InMemoryWorker) -> None:
    merged = merge(worker, "a", "b")
    with pytest.raises(Conflict, match=merged):
        split(worker, "a", "b", "b1")
    split(worker, "a", "b1", "a1")
    assert members(worker, "a") == ["a", "a2", "b"]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"action": "merge", "image_id": "a", "other_id": "nobody"}, NotFound, "'nobody' has not been decided"),
        ({"action": "merge", "image_id": "a", "other_id": "a2"}, Conflict, "in one cluster already"),
        ({"action": "merge", "image_id": "a"}, BadCommand, "other_id"),
        ({"action": "split", "image_id": "a", "image_ids": ""}, BadCommand, "0 images are listed"),
        ({"action": "split", "image_id": "a", "image_ids": "a1\na1"}, BadCommand, "'a1' is listed twice"),
        ({"action": "split", "image_id": "a", "image_ids": "a1\nb1"}, Conflict, "1 of the 2 listed .*of 'a': 'b1'"),
        ({"action": "split", "image_id": "a", "image_ids": "a\na1\na2"}, Conflict, "the whole cluster of 'a'"),
        ({"action": "split", "image_id": "a", "image_ids": "a1\nnobody"}, NotFound, "'nobody'"),
        (
            {"action": "split", "image_id": "a", "image_ids": "\n".join(map(str, range(1_001)))},
            BadCommand,
            "1001 images are listed, 1 to 1000",
        ),
    ],
)
def test_a_merge_or_split_that_makes_no_sense_is_refused_and_changes_nothing(
    worker: InMemoryWorker, arguments: dict[str, str], error: type[Exception], says: str
) -> None:
    before = worker.store.state()
    with pytest.raises(error, match=says):
        worker.run_command("override", **arguments)
    assert (worker.store.state(), worker.store.overrides.all()) == (before, [])


def test_a_forgotten_image_leaves_a_split_and_a_merge_without_it(worker: InMemoryWorker) -> None:
    split(worker, "a", "a1", "a2")
    worker.forget("a1")
    (stored,) = worker.store.overrides.all()
    assert (stored.image_id, list(stored.image_ids), stored.other_id) == ("a2", [], "a")
    merge(worker, "b", "lone")
    merge(worker, "a", "b")
    worker.forget("b")
    left = {(o.image_id, o.other_id) for o in worker.store.overrides.all() if o.action == "merge"}
    assert left == {("a", heads(worker.store)["a"])}
    worker.forget("a")
    worker.forget("a2")
    assert worker.store.overrides.all() == []


def test_everything_named_is_found_by_its_overrides(worker: InMemoryWorker) -> None:
    override_id = split(worker, "a", "a1", "a2")
    for image_id in ("a", "a1", "a2"):
        assert [o.override_id for o in worker.redeciding.overrides.naming(image_id)] == [override_id]
