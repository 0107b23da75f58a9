"""Claims about overrides in memory: which ones contradict each other, and what they require of an image."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.clusters import override_conflicts as module
from neardup_platform.clusters.decision import FREE
from neardup_platform.clusters.override_conflicts import check
from neardup_platform.clusters.override_terms import Action
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.errors import Conflict
from neardup_platform.store import store_pb2 as store_pb

HEADS = {"a": "a", "b": "a", "c": "c", "d": "d", "e": "d"}
ORDINALS = {"a": 1, "c": 3, "d": 4}


def override(override_id: str, action: Action, image_id: str, other_id: str = "") -> store_pb.Override:
    return store_pb.Override(override_id=override_id, action=action, image_id=image_id, other_id=other_id)


def link(image_id: str, other_id: str) -> store_pb.Override:
    return override(f"{image_id}-{other_id}", Action.LINK, image_id, other_id)


def forbid(image_id: str, other_id: str) -> store_pb.Override:
    return override(f"{image_id}|{other_id}", Action.FORBID, image_id, other_id)


def alone(image_id: str) -> store_pb.Override:
    return override(f"{image_id}!", Action.ALONE, image_id)


def head_of(image_id: str) -> int | None:
    return ORDINALS[HEADS[image_id]] if image_id in HEADS else None


@pytest.mark.parametrize(
    ("held", "new", "named"),
    [
        ([], link("a", "a"), "with itself"),
        ([], forbid("a", "a"), "with itself"),
        ([link("c", "a")], link("c", "d"), "c-a"),
        ([alone("c")], link("c", "d"), "c!"),
        ([link("c", "a")], alone("c"), "c-a"),
        ([alone("c")], alone("c"), "c!"),
        ([link("c", "a")], link("a", "c"), "c-a"),
        ([link("c", "a"), link("a", "d")], link("d", "c"), "c-a"),
        ([link("c", "a")], forbid("a", "c"), "c-a"),
        ([link("c", "a"), link("d", "a")], forbid("c", "d"), "c-a"),
        ([forbid("a", "c")], forbid("c", "a"), r"a\|c"),
        ([forbid("c", "a")], link("c", "a"), r"c\|a"),
        ([forbid("c", "b")], link("c", "a"), r"c\|b.*in the cluster of 'a'"),
        ([forbid("e", "b"), link("e", "c")], link("c", "a"), r"e\|b"),
        ([forbid("c", "a"), link("a", "e")], link("c", "e"), r"c\|a"),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(getattr(value, "override_id", "")),
)
def test_an_override_that_contradicts_an_active_one_is_refused_and_names_it(
    held: list[store_pb.Override], new: store_pb.Override, named: str
) -> None:
    with pytest.raises(Conflict, match=named):
        check(Overrides(held), new, HEADS.__getitem__)


@pytest.mark.parametrize(
    ("held", "new"),
    [
        ([alone("a")], link("c", "a")),
        ([link("c", "a")], link("d", "a")),
        ([forbid("a", "c")], forbid("a", "d")),
        ([forbid("a", "c")], alone("c")),
        ([link("c", "a")], alone("a")),
    ],
)
def test_an_override_that_contradicts_nothing_is_accepted(
    held: list[store_pb.Override], new: store_pb.Override
) -> None:
    check(Overrides(held), new, HEADS.__getitem__)


def test_no_more_overrides_are_accepted_than_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OVERRIDES", 2)
    with pytest.raises(Conflict, match="there are 2 overrides"):
        check(Overrides([alone("a"), alone("b")]), alone("c"), HEADS.__getitem__)


def test_an_image_without_overrides_is_unconstrained() -> None:
    assert Overrides([link("c", "a")]).constraint("d", head_of) is FREE


def test_a_linked_image_must_join_the_cluster_of_its_group() -> None:
    overrides = Overrides([link("c", "b")])
    assert (overrides.constraint("c", head_of).head, overrides.constraint("c", head_of).override_id) == (1, "c-b")
    assert overrides.constraint("b", head_of).head == ORDINALS["c"]
    assert Overrides([link("c", "nobody")]).constraint("c", head_of).head is None


def test_a_forbid_bars_every_cluster_with_an_image_that_the_group_is_kept_apart_from() -> None:
    overrides = Overrides([link("new", "newer"), forbid("newer", "b"), forbid("e", "new"), forbid("new", "nobody")])
    assert overrides.constraint("new", head_of).barred == {1: "newer|b", 4: "e|new"}
    assert overrides.constraint("b", head_of).barred == {}


def test_an_image_that_must_be_alone_is_alone_even_if_others_are_linked_to_it() -> None:
    constraint = Overrides([alone("a"), link("c", "a")]).constraint("a", head_of)
    assert (constraint.alone, constraint.override_id) == (True, "a!")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), st.integers(0, 9))
def test_groups_partition_the_images_and_have_one_leader(pairs: list[tuple[int, int]], n: int) -> None:
    overrides = Overrides()
    for one, other in pairs:
        new = link(str(one), str(other))
        try:
            check(overrides, new, lambda _: "")
        except Conflict:
            continue
        overrides.put(new)
    group = overrides.group(str(n))
    assert group[0] == str(n)
    assert len(group) == len(set(group))
    assert {frozenset(overrides.group(member)) for member in group} == {frozenset(group)}
    assert len({overrides.leader(member) for member in group}) == 1
    assert sum(overrides.own(member) is None for member in group) == 1


def test_a_removed_override_leaves_no_trace() -> None:
    overrides = Overrides([link("c", "a"), forbid("a", "d")])
    overrides.remove("c-a")
    overrides.remove("a|d")
    assert len(overrides) == 0
    assert overrides.constraint("a", head_of) is FREE
    assert overrides.group("a") == ["a"]
