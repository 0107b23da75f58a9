"""Wrong pairs in one cluster, by subset."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.evaluation.wrong_merges import wrong_merges, wrong_merges_by_mark

MARKED = st.lists(st.tuples(*(st.integers(0, 3) for _ in range(3))), min_size=1, max_size=20)


@given(MARKED)
def test_wrong_pairs_equal_counting_every_pair_that_touches_the_subset(labels: list[tuple[int, int, int]]) -> None:
    clusters, groups, numbers = zip(*labels, strict=True)
    for number in set(numbers):
        row = wrong_merges(clusters, groups, np.array(numbers) == number, resamples=20)
        wrong = sum(
            number in (numbers[i], numbers[j])
            for i, j in combinations(range(len(labels)), 2)
            if clusters[i] == clusters[j] and groups[i] != groups[j]
        )
        assert row["wrong_pairs_per_1000"] == pytest.approx(1_000 * wrong / numbers.count(number))
        assert row["wrong_pairs_per_1000_low"] <= row["wrong_pairs_per_1000"] <= row["wrong_pairs_per_1000_high"]
        touched = {cluster for cluster, own in zip(clusters, numbers, strict=True) if own == number}
        held = {c: len({g for k, g in zip(clusters, groups, strict=True) if k == c}) for c in touched}
        assert row["mixed_clusters"] == sum(count >= 3 for count in held.values())


def merged(groups: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Groups of one to three pictures in clusters of their own, and a share of neighbouring ones joined by mistake."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rng.integers(1, 4, groups))
    joined = rng.random(groups // 2) < share
    cluster = np.where(joined[np.minimum(group // 2, len(joined) - 1)], group // 2 * 2, group)
    return cluster.tolist(), group.tolist()


@pytest.mark.parametrize("share", [0.2, 0.02, 0.005])
def test_the_interval_contains_the_true_rate_nineteen_times_in_twenty(share: float) -> None:
    # Each of two joined groups has two pictures on average, so a join makes four wrong pairs among four pictures.
    truth = 1_000 * share
    held = []
    for seed in range(60):
        clusters, groups = merged(200, share, seed)
        row = wrong_merges(clusters, groups, np.ones(len(groups), bool), seed, resamples=200)
        held.append(row["wrong_pairs_per_1000_low"] <= truth <= row["wrong_pairs_per_1000_high"])
    assert sum(held) >= 54


def test_without_a_wrong_pair_the_upper_end_falls_with_the_number_of_pictures() -> None:
    few, many = (
        wrong_merges(list(range(n)), list(range(n)), np.ones(n, bool))["wrong_pairs_per_1000_high"]
        for n in (100, 1_000)
    )
    assert few == pytest.approx(10 * many)
    assert many == pytest.approx(3.689, abs=1e-3)


def test_a_pair_of_two_subsets_counts_for_both() -> None:
    measured = wrong_merges_by_mark([0, 0, 0, 3], [0, 1, 1, 2], ["a", "b", "b", "c"])
    assert {mark: row["wrong_pairs_per_1000"] for mark, row in measured.items()} == {"a": 2_000, "b": 1_000, "c": 0}
