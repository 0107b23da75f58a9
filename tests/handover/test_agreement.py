"""Claims about the agreement of two partitions: by hand, against a count of all pairs, and whatever the names are."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.evaluation.measures import bcubed_measures
from neardup_platform.handover.agreement import Agreement, labels_of, measure
from neardup_platform.handover.disagreements import rank

PARTITIONS = st.integers(0, 12).flatmap(
    lambda n: st.tuples(
        *(st.lists(st.integers(0, 5), min_size=n, max_size=n) for _ in range(2)),
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
)


def compared(theirs: Sequence[object], ours: Sequence[object], mask: Sequence[bool] | None = None) -> Agreement:
    chosen = np.array(mask if mask is not None else [True] * len(theirs), bool)
    return measure(labels_of(list(map(str, theirs))), labels_of(list(map(str, ours))), chosen)


def test_the_same_clusters_under_other_names_agree_completely() -> None:
    found = compared("aabcc", "xxyzz")
    assert (found.agreement, found.bcubed_f1, found.pair_f1) == (1.0, 1.0, 1.0)
    assert (found.images, found.together, found.clusters, found.identical) == (5, 4, 3, 3)
    assert (found.split, found.merged) == (0, 0)


def test_a_split_costs_recall_and_a_merge_costs_precision() -> None:
    split = compared("aaaab", "xxyyb")
    assert (split.pair_precision, split.pair_recall) == (1.0, pytest.approx(2 / 6))
    assert (split.clusters, split.identical, split.split, split.merged) == (2, 1, 1, 0)
    # Each of the four images has half of its cluster with it.
    assert split.agreement == pytest.approx(2 / 3)
    merged = compared("xxyyb", "aaaab")
    assert (merged.pair_precision, merged.pair_recall) == (pytest.approx(2 / 6), 1.0)
    assert (merged.clusters, merged.identical, merged.split, merged.merged) == (3, 1, 0, 1)


def test_images_that_are_alone_in_both_do_not_make_agreement() -> None:
    many = compared([*"aa", *range(98)], [*"xy", *range(98)])
    assert (many.images, many.together) == (100, 2)
    assert many.bcubed_f1 == pytest.approx(0.995, abs=1e-3)
    assert many.agreement == pytest.approx(2 / 3)
    assert (many.pair_precision, many.pair_recall, many.pair_f1) == (None, 0.0, 0.0)
    assert compared("abc", "xyz").agreement is None
    assert compared("", "").agreement is None


@given(PARTITIONS)
def test_pairs_and_bcubed_are_those_of_their_definitions(drawn: tuple[list[int], list[int], list[bool]]) -> None:
    theirs, ours, mask = drawn
    found = compared(theirs, ours, mask)
    pairs = [(i, j) for i, j in itertools.combinations(range(len(theirs)), 2) if mask[i] or mask[j]]
    assert found.pairs_theirs == sum(theirs[i] == theirs[j] for i, j in pairs)
    assert found.pairs_ours == sum(ours[i] == ours[j] for i, j in pairs)
    assert found.pairs_both == sum(theirs[i] == theirs[j] and ours[i] == ours[j] for i, j in pairs)
    if theirs and all(mask):
        expected = bcubed_measures(ours, theirs)
        alone = found.images - found.together
        assert (found.precision_sum + alone) / found.images == pytest.approx(expected["bcubed_precision"])
        assert (found.recall_sum + alone) / found.images == pytest.approx(expected["bcubed_recall"])


@given(PARTITIONS)
def test_names_and_order_do_not_matter_and_exchanging_the_two_exchanges_the_measures(
    drawn: tuple[list[int], list[int], list[bool]],
) -> None:
    theirs, ours, mask = drawn
    found = compared(theirs, ours, mask)
    renamed = compared([f"n{9 - each}" for each in reversed(theirs)], list(reversed(ours)), list(reversed(mask)))
    assert (renamed.pairs_both, renamed.identical, renamed.split) == (found.pairs_both, found.identical, found.split)
    assert renamed.precision_sum == pytest.approx(found.precision_sum)
    swapped = compared(ours, theirs, mask)
    assert (swapped.pairs_ours, swapped.split, swapped.merged) == (found.pairs_theirs, found.merged, found.split)
    assert swapped.identical == found.identical
    assert swapped.recall_sum == pytest.approx(found.precision_sum)


def test_hours_add_up() -> None:
    one, other = compared("aab", "xxy"), compared("cdd", "zzz")
    both = one + other
    assert both == compared("aabcdd", "xxyzzz")
    assert both + Agreement() == both


def disagreements(
    theirs: str, ours: str, mask: Sequence[bool] | None = None
) -> list[tuple[str, str, int, int, set[str]]]:
    ids = [f"{number}" for number in range(len(theirs))]
    chosen = np.array(mask if mask is not None else [True] * len(ids), bool)
    found = rank(ids, theirs, ours, labels_of(theirs), labels_of(ours), chosen)
    return [(each.kind, each.cluster, each.parts, each.pairs, {each.one, each.other}) for each in found]


def test_the_largest_disagreement_comes_first_with_an_image_of_each_of_its_largest_parts() -> None:
    #      0123456789
    theirs = "aaaaabbccd"
    ours = "xxxyzvvwwd"
    assert disagreements(theirs, ours) == [("split", "a", 3, 7, {"0", "3"})]
    assert disagreements(ours, theirs) == [("merged", "a", 3, 7, {"0", "3"})]
    assert disagreements("aabb", "xxxx") == [("merged", "x", 2, 4, {"0", "2"})]
    assert disagreements("aabc", "xyzz") == [
        ("merged", "z", 2, 1, {"2", "3"}),
        ("split", "a", 2, 1, {"0", "1"}),
    ]


def test_a_disagreement_among_others_alone_is_not_of_this_hour() -> None:
    assert disagreements("aab", "xyz", [False, False, True]) == []
    assert disagreements("aab", "xyz", [True, False, True]) == [("split", "a", 2, 1, {"0", "1"})]
    assert disagreements("", "") == []
