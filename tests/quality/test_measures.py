"""Claims about the measures."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.quality.measures import bcubed_measures, pair_measures, score_measures

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


def test_nothing_scored_gives_no_figure_rather_than_a_wrong_one() -> None:
    measured = score_measures(np.zeros(0, np.float32), np.zeros(0, bool), missed=3)
    assert set(measured.values()) == {None}
