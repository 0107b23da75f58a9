"""The metrics of an evaluation, on small hand-made ones."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neardup_platform.evaluation.manifest import Row
from neardup_platform.evaluation.measures import pair_measures
from neardup_platform.evaluation.metrics import OTHERS, TRANSFORMATIONS_LISTED, metrics
from neardup_platform.learning.embedder.kind_labels import KindLabels
from tests.evaluation.hand_made import evaluation_of

# Two groups of three and two distractors; one true pair of "b" is never scored, one distractor joins "a".
GROUPS = ["a", "a", "a", "b", "b", "b", "", ""]
HEADS = [0, 0, 2, 3, 3, 3, 0, 7]
SCORED = [(1, 0, 0.9), (2, 0, 0.2), (2, 1, 0.3), (4, 3, 0.8), (5, 4, 0.7), (6, 0, 0.6), (7, 6, 0.05)]


def test_metrics_equal_those_counted_by_hand() -> None:
    measured = metrics(evaluation_of(GROUPS, HEADS, SCORED))
    assert (measured["images"], measured["pairs_true"], measured["pairs_scored"]) == (8, 6, 7)
    # Joined: 0-1, 0-6, 1-6 and the three of "b"; four of the six are right, and four of the six true ones are found.
    assert measured["precision"] == pytest.approx(4 / 6)
    assert measured["recall"] == pytest.approx(4 / 6)
    assert measured["candidate_recall"] == pytest.approx(5 / 6)
    assert measured["pair_recall_at_p99"] == pytest.approx(3 / 6)
    assert measured["cluster_sizes"] == {"1": 2, "3": 2}
    assert (measured["mixed_clusters"], measured["most_groups_in_a_cluster"]) == (0, 2)
    assert measured["pairs_uncertain"] == 7
    assert measured["wrong_pairs_per_1000"] == pytest.approx(1_000 * 2 / 8)
    assert [(row["images"], row["extrapolated"]) for row in measured["by_corpus_size"][:2]] == [
        (8, False),
        (100_000, True),
    ]
    # One wrong match, 6 with 0, among eight images.
    assert measured["by_corpus_size"][0]["wrong_matches_per_1000"] == pytest.approx(1_000 / 8)
    assert measured["by_corpus_size"][0]["precision"] == pytest.approx(3 / 4)
    assert json.loads(json.dumps(measured)) == measured


def test_an_unreadable_picture_is_alone_in_its_cluster_and_counted() -> None:
    measured = metrics(evaluation_of(GROUPS, HEADS, [p for p in SCORED if 5 not in p[:2]], refused=[5]))
    assert (measured["images"], measured["pictures_refused"]) == (8, 1)
    assert measured["coverage"] == pytest.approx(7 / 8)
    assert measured["pairs_true"] == 6
    assert measured["recall"] == pytest.approx(2 / 6)


def test_parts_are_pooled_by_counting_and_share_no_cluster() -> None:
    groups = ["a", "a", "", "b", "b", "b"]
    heads = [0, 0, 0, 3, 3, 5]
    scored = [(1, 0, 0.9), (2, 0, 0.6), (4, 3, 0.8), (5, 3, 0.3)]
    measured = metrics(evaluation_of(groups, heads, scored, parts=[[0, 1, 2], [3, 4, 5]]))
    first, second = measured["parts"]
    assert measured["folds"] == 2
    assert (first["precision"], second["precision"]) == (pytest.approx(1 / 3), 1.0)
    assert measured["precision"] == pytest.approx((1 + 1) / (3 + 1))
    assert measured["recall"] == pytest.approx((1 + 1) / (1 + 3))
    assert first["pairs_true"] + second["pairs_true"] == measured["pairs_true"]
    whole = pair_measures(heads, ["a", "a", "alone", "b", "b", "b"])
    assert {name: measured[name] for name in whole} == whole
    # Each part is a corpus of three: one wrong match among six images.
    assert measured["by_corpus_size"][0]["images"] == 3
    assert measured["by_corpus_size"][0]["wrong_matches_per_1000"] == pytest.approx(1_000 / 6)


def test_recall_by_transformation_counts_a_pair_for_both_of_its_pictures() -> None:
    rows = [
        Row(Path(f"/{n}.jpg"), group, "s", how, how == "flip")
        for n, (group, how) in enumerate([("a", "full"), ("a", "crop"), ("a", "flip"), ("", "crop")])
    ]
    measured = metrics(evaluation_of([], [0, 0, 2, 3], [(1, 0, 0.9), (2, 0, 0.1)], rows=rows))
    assert measured["transformations"] == {
        "flip": {"images": 1, "pairs_true": 2, "recall": 0.0},
        "crop": {"images": 2, "pairs_true": 2, "recall": 0.5},
        "full": {"images": 1, "pairs_true": 2, "recall": 0.5},
    }
    assert measured["turned"] == {"pairs_true": 2, "recall": 0.0}
    assert measured["subsets"]["s"]["pairs_true"] == 3
    assert (measured["subsets"]["s"]["wrong_pairs_per_1000"], measured["subsets"]["s"]["mixed_clusters"]) == (0, 0)
    assert measured["subsets"]["s"]["wrong_pairs_per_1000_high"] > 0


def test_transformations_beyond_the_limit_are_counted_together() -> None:
    rows = [
        row
        for n in range(TRANSFORMATIONS_LISTED + 5)
        for row in (Row(Path(f"/{n}a.jpg"), f"g{n}", "", "full"), Row(Path(f"/{n}b.jpg"), f"g{n}", "", f"size {n}"))
    ]
    heads = [n - n % 2 for n in range(len(rows))]
    measured = metrics(evaluation_of([], heads, [(1, 0, 0.9)], rows=rows))["transformations"]
    assert len(measured) == TRANSFORMATIONS_LISTED + 1
    assert measured[OTHERS] == {"images": 6, "pairs_true": 6, "recall": 1.0}
    assert measured["full"]["pairs_true"] == TRANSFORMATIONS_LISTED + 5


def test_pairs_are_counted_by_true_and_by_claimed_kind_where_the_true_one_is_known() -> None:
    labels = [KindLabels("same"), KindLabels("altered-copy"), KindLabels(), KindLabels(template="t")]
    labels.append(KindLabels(template="t"))
    rows = [Row(Path(f"/{n}.jpg"), "a" if n < 3 else "", labels=label) for n, label in enumerate(labels)]
    scored = [(1, 0, 0.9), (2, 0, 0.9), (3, 0, 0.1), (4, 3, 0.2)]
    evaluation = evaluation_of([], [0, 0, 0, 3, 4], scored, rows=rows)
    runs = [replace(run, kinds=np.array([2, 1, 0, 3], np.uint8)) for run in evaluation.runs]
    none = {"none": 0, "same": 0, "altered-copy": 0, "same-template": 0, "same-scene": 0}
    assert metrics(replace(evaluation, runs=runs))["kinds"] == {
        "none": {**none, "none": 1},
        "altered-copy": {**none, "altered-copy": 1},
        "same-template": {**none, "same-template": 1},
    }


def test_columns_missing_from_the_manifest_give_no_metrics() -> None:
    measured = metrics(evaluation_of(GROUPS, HEADS, SCORED))
    assert (measured["subsets"], measured["transformations"], measured["turned"]) == ({}, {}, None)
    assert measured["kinds"] == {}


def test_without_a_scored_true_pair_there_are_no_pair_metrics() -> None:
    measured = metrics(evaluation_of(["a", "a"], [0, 1], []))
    assert measured["recall"] == measured["candidate_recall"] == 0.0
    for name in ("pair_recall_at_p99", "pair_recall_at_p99_low", "calibration_error", "calibration_error_uncertain"):
        assert measured[name] is None
    assert measured["pair_curve"] == []
