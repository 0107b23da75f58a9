"""Claims about proposals to cut and merge clusters."""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neardup_platform.reclustering import clustering
from neardup_platform.reclustering.clustering import Reclustered, recluster
from neardup_platform.reclustering.compared_pairs import (
    ComparedPairs,
    Thresholds,
    compared_pairs,
    fixed_images,
    present_heads,
)
from neardup_platform.what_if.recorded import Recorded
from neardup_platform.wire import neardup_pb2 as pb
from tests.what_if.records import decision, recorded


def proposed(found: Recorded, thresholds: Thresholds = Thresholds()) -> Reclustered:  # noqa: B008 -- frozen
    return recluster(present_heads(found), compared_pairs(found, thresholds), fixed_images(found), len(found))


def of_names(found: Recorded, home: np.ndarray) -> Mapping[str, str]:
    return dict(zip(found.ids.to_pylist(), found.names(home), strict=True))


@st.composite
def streams(draw: st.DrawFn) -> list[pb.Decision]:
    """Random decisions; clusters need not follow from the scores, as after promotions and handovers."""
    decisions, heads = [], []
    for number in range(draw(st.integers(1, 16))):
        name = f"i{number:02}"
        others = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=6)) if number else []
        scores = sorted((draw(st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])) for _ in others), reverse=True)
        head = draw(st.sampled_from([name, *(heads[n] for n in others)]))
        heads.append(head)
        listed = [(f"i{n:02}", score, heads[n]) for score, n in zip(scores, others, strict=True)]
        overridden = {"override_id": "o"} if draw(st.integers(0, 9)) == 0 else {}
        score = 1.0 if head == name else draw(st.sampled_from([0.1, 0.3, 0.9]))
        decisions.append(decision(number + 1, name, head, listed, head_score=score, threshold=0.6, **overridden))
    return decisions


def check(found: Recorded, pairs: ComparedPairs, after: Reclustered) -> None:
    before = present_heads(found)
    heads = after.home[after.home]
    assert np.array_equal(heads, after.home), "a head is in its own cluster"
    kept = {int(each) for each in np.unique(before)}
    moved = np.flatnonzero(before != after.home)
    assert {each.image for each in after.leaving} | {n for each in after.taken_in for n in each.images} >= set(moved)
    for image in moved:
        to = int(after.home[image])
        assert not (image < len(found) and found.pinned[image]), "an override holds"
        if to != image:
            (at,) = pairs.find(np.array([image], np.int32), np.array([to], np.int32))
            assert at >= 0
            assert pairs.agrees[at], "every member that is placed agrees with its head"
    ended = {each.head for each in after.taken_in}
    assert all(after.home[head] == head for head in kept - ended if before[head] == head), "survivors keep their heads"
    members = np.flatnonzero(after.home != np.arange(len(after.home))).astype(np.int32)
    at = pairs.find(members, after.home[members])
    free = np.array([n >= len(found) or not found.pinned[n] for n in members], np.bool_)
    heads_before = np.isin(members, before)
    assert pairs.agrees[at[(at >= 0) & free & ~heads_before]].all(), "none stays that disagrees"


@settings(deadline=None, max_examples=80)
@given(streams(), st.randoms(use_true_random=False))
def test_proposals_are_partitions_whose_placed_members_agree_whatever_the_order_of_input(
    decisions: list[pb.Decision], random: Random
) -> None:
    shuffled = list(decisions)
    random.shuffle(shuffled)
    with TemporaryDirectory() as folder:
        found, again = recorded(Path(folder), decisions), recorded(Path(folder), shuffled)
    for thresholds in (Thresholds(), Thresholds(0.5, 0.4)):
        after = proposed(found, thresholds)
        check(found, compared_pairs(found, thresholds), after)
        assert of_names(found, after.home) == of_names(again, proposed(again, thresholds).home)


SPLIT = [
    decision(1, "a"),
    decision(2, "b", "a", [("a", 0.9, "a")], head_score=0.9),
    decision(3, "c", "a", [("b", 0.95, "a"), ("a", 0.3, "a")], head_score=0.3),
    decision(4, "d", "a", [("c", 0.95, "a"), ("b", 0.9, "a")], head_score=0.2),
]
MERGE = [
    decision(1, "a"),
    decision(2, "b", "", [("a", 0.5, "a")]),
    decision(3, "c", "b", [("a", 0.9, "a"), ("b", 0.85, "b")], head_score=0.85),
    decision(4, "d", "a", [("a", 0.95, "a")], head_score=0.95),
]


def test_a_cluster_keeps_its_head_and_those_that_disagree_leave_together(tmp_path: Path) -> None:
    found = recorded(tmp_path, SPLIT)
    after = proposed(found)
    assert of_names(found, after.home) == {"a": "a", "b": "a", "c": "c", "d": "c"}
    assert [(found.names([each.image, each.to]), round(each.score, 2)) for each in after.leaving] == [
        (["c", "c"], 0.3),
        (["d", "c"], 0.2),
    ]


def test_bridged_clusters_whose_heads_agree_become_one(tmp_path: Path) -> None:
    found = recorded(tmp_path, MERGE)
    after = proposed(found)
    assert of_names(found, after.home) == {"a": "a", "b": "a", "c": "a", "d": "a"}
    (merge,) = after.taken_in
    assert found.names([merge.head, merge.into, *merge.images]) == ["b", "a", "c", "b"]


def test_a_member_that_disagrees_with_the_other_head_prevents_the_merge(tmp_path: Path) -> None:
    against = decision(5, "e", "b", [("b", 0.9, "b"), ("a", 0.2, "a")], head_score=0.9)
    assert proposed(recorded(tmp_path, [*MERGE, against])).taken_in == []
    unknown = decision(5, "e", "b", [("b", 0.9, "b")], head_score=0.9)
    assert proposed(recorded(tmp_path, [*MERGE, unknown])).taken_in == []


def test_what_an_override_placed_stays(tmp_path: Path) -> None:
    SPLIT[2].override_id = "o"
    try:
        found = recorded(tmp_path, SPLIT)
    finally:
        SPLIT[2].override_id = ""
    assert of_names(found, proposed(found).home)["c"] == "a"


def test_a_cluster_that_was_handed_over_has_its_present_head(tmp_path: Path) -> None:
    handed = decision(5, "b", "b", cause="handover", replaced_head="a")
    forgotten = decision(6, "a", cause="forget")
    forgotten.head = ""
    found = recorded(tmp_path, [*SPLIT[:3], handed, forgotten])
    assert of_names(found, present_heads(found)) == {"b": "b", "c": "b", "a": "a"}
    assert found.names(np.flatnonzero(found.forgotten)) == ["a"]


def test_a_component_that_is_too_large_is_left_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "MAX_COMPONENT", 3)
    found = recorded(tmp_path, SPLIT)
    after = proposed(found)
    assert (after.leaving, after.too_large, after.largest_component) == ([], 4, 4)
