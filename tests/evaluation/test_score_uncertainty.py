"""The reported uncertainty of pair metrics."""

from itertools import pairwise

import numpy as np
import pytest

from neardup_platform.evaluation.measures import pair_curve
from neardup_platform.evaluation.score_uncertainty import (
    equal_mass_bins,
    recall_interval,
    short_curve,
    uncertain_calibration_error,
)
from neardup_platform.scoring.calibration import expected_calibration_error, recall_at_precision

Pairs = tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]


def pairs_of(groups: int, seed: int) -> Pairs:
    """One to six true pairs per group, likely to be found together, and as many false ones between groups."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, groups)
    own = np.repeat(np.arange(groups), sizes)
    ease = np.repeat(rng.uniform(0.2, 1.0, groups), sizes)
    first = np.concatenate([own, rng.integers(0, groups, len(own))])
    second = np.concatenate([own, (first[len(own) :] + 1) % groups])
    scores = np.concatenate([ease, rng.uniform(0, 0.5, len(own))]).astype(np.float32)
    return scores, first == second, (first, second), sizes


def recall_of(pairs: Pairs) -> float:
    scores, true, _, _ = pairs
    curve = pair_curve(scores, true, 0)
    assert curve is not None
    return recall_at_precision(curve, 0.99)


def test_the_interval_contains_the_recall_of_all_groups_nineteen_times_in_twenty() -> None:
    truth = recall_of(pairs_of(40_000, seed=1))
    intervals = [recall_interval(*pairs_of(150, seed), 0.99) for seed in range(60)]
    held = [low <= truth <= high for low, high in intervals]
    assert sum(held) >= 52
    assert np.mean([high - low for low, high in intervals]) < 0.25


def test_more_groups_narrow_the_interval_and_more_pairs_of_a_group_do_not() -> None:
    few, many = (recall_interval(*pairs_of(groups, seed=3), 0.99) for groups in (60, 960))
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])
    scores, true, (first, second), sizes = pairs_of(60, seed=3)
    doubled = recall_interval(
        np.tile(scores, 2), np.tile(true, 2), (np.tile(first, 2), np.tile(second, 2)), 2 * sizes, 0.99
    )
    assert doubled == pytest.approx(few, abs=1e-9)


def test_true_pairs_never_scored_lower_the_interval() -> None:
    scores, true, groups, sizes = pairs_of(100, seed=4)
    high = recall_interval(scores, true, groups, sizes, 0.99)[1]
    assert recall_interval(scores, true, groups, 2 * sizes, 0.99)[1] == pytest.approx(high / 2)


def test_scores_that_never_reach_the_precision_have_an_interval_at_zero() -> None:
    groups = np.arange(10), np.arange(10)
    assert recall_interval(np.ones(10, np.float32), np.zeros(10, bool), groups, np.ones(10, int), 0.99) == (0.0, 0.0)


def test_easy_pairs_hide_an_error_that_uncertain_pairs_show() -> None:
    scores = np.concatenate([np.full(9_900, 0.001), np.full(100, 0.8)]).astype(np.float32)
    true = np.arange(10_000) >= 9_950
    assert expected_calibration_error(scores.astype(float), true) < 0.01
    assert uncertain_calibration_error(scores, true) == pytest.approx(0.3, abs=0.01)


def test_without_uncertain_pairs_their_error_is_none() -> None:
    assert uncertain_calibration_error(np.array([0.0, 0.01, 0.99, 1.0], np.float32), np.zeros(4, bool)) is None


@pytest.mark.parametrize("n", [0, 3, 15, 31])
def test_bins_of_equal_mass_contain_every_score_once_and_ascend(n: int) -> None:
    scores = np.random.default_rng(n).random(n).astype(np.float32)
    bins = equal_mass_bins(scores)
    assert sorted(np.concatenate([np.zeros(0, int), *bins]).tolist()) == list(range(n))
    assert {len(part) for part in bins} <= {n // 15, n // 15 + 1}
    assert all(scores[a].max() <= scores[b].min() for a, b in pairwise(bins))


def test_the_printed_curve_is_a_short_part_of_the_whole_one() -> None:
    scores, true, _, _ = pairs_of(500, seed=5)
    curve = pair_curve(scores, true, 100)
    assert curve is not None
    points = short_curve(curve)
    assert 20 < len(points) <= 50 < len(curve.recall)
    assert points[-1]["recall"] == curve.recall[-1] < 1
    whole = set(zip(curve.thresholds.tolist(), curve.precision.tolist(), curve.recall.tolist(), strict=True))
    assert {(p["threshold"], p["precision"], p["recall"]) for p in points} <= whole
