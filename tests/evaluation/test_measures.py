"""Metrics of clustering and of pair scores."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.evaluation.measures import (
    bcubed_measures,
    cluster_measures,
    marked_measures,
    pair_measures,
    score_measures,
)

LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1, max_size=30)


@given(LABELS)
def test_pair_measures_equal_counting_every_pair(labels: list[tuple[str, str]]) -> None:
    clusters, groups = zip(*labels, strict=True)
    pairs = list(combinations(range(len(labels)), 2))
    together = {(i, j) for i, j in pairs if clusters[i] == clusters[j]}
    true = {(i, j) for i, j in pairs if groups[i] == groups[j]}
    measured = pair_measures(clusters, groups)
    assert measured["precision"] == pytest.approx(len(together & true) / len(together) if together else 1.0)
    assert measured["recall"] == pytest.approx(len(together & true) / len(true) if true else 1.0)


@given(LABELS)
def test_bcubed_measures_equal_their_definition(labels: list[tuple[str, str]]) -> None:
    clusters, groups = zip(*labels, strict=True)
    n = len(labels)
    precision = recall = 0.0
    for i in range(n):
        cluster = [j for j in range(n) if clusters[j] == clusters[i]]
        group = [j for j in range(n) if groups[j] == groups[i]]
        both = len(set(cluster) & set(group))
        precision += both / len(cluster) / n
        recall += both / len(group) / n
    measured = bcubed_measures(clusters, groups)
    assert measured["bcubed_precision"] == pytest.approx(precision)
    assert measured["bcubed_recall"] == pytest.approx(recall)


def test_true_pairs_that_were_never_scored_count_as_missed() -> None:
    scores, true = np.array([0.9, 0.8, 0.1], np.float32), np.array([True, True, False])
    measured = score_measures(scores, true, missed=2)
    assert measured["pair_recall_at_p99"] == pytest.approx(0.5)
    assert measured["pair_average_precision"] == pytest.approx(0.5)
    assert measured["pair_best_f1"] == pytest.approx(2 / 3)


def test_without_scored_pairs_the_metrics_are_none() -> None:
    measured = score_measures(np.zeros(0, np.float32), np.zeros(0, bool), missed=3)
    assert set(measured.values()) == {None}


MARKED = st.lists(st.tuples(*(st.integers(0, 3) for _ in range(3))), min_size=1, max_size=30)


@given(MARKED)
def test_metrics_by_mark_equal_counting_every_pair_that_touches_it(labels: list[tuple[int, int, int]]) -> None:
    clusters, groups, numbers = zip(*labels, strict=True)
    marks = [f"m{number}" for number in numbers]
    measured = marked_measures(clusters, groups, marks)
    assert set(measured) == set(marks)
    for mark, row in measured.items():
        touching = [(i, j) for i, j in combinations(range(len(labels)), 2) if mark in (marks[i], marks[j])]
        true = {(i, j) for i, j in touching if groups[i] == groups[j]}
        together = {(i, j) for i, j in touching if clusters[i] == clusters[j]}
        assert (row["images"], row["pairs_true"]) == (marks.count(mark), len(true))
        assert row["recall"] == (len(true & together) / len(true) if true else None)
        assert row["precision"] == (len(true & together) / len(together) if together else None)


def test_a_cluster_of_three_groups_is_mixed_and_one_of_two_is_not() -> None:
    measured = cluster_measures([0, 0, 0, 1, 1, 1, 1, 2], [5, 6, 6, 7, 8, 9, 9, 5])
    assert (measured["clusters"], measured["largest_cluster"]) == (3, 4)
    assert measured["cluster_sizes"] == {"1": 1, "3": 1, "4": 1}
    assert (measured["mixed_clusters"], measured["most_groups_in_a_cluster"]) == (1, 3)
