"""Claims about thresholds and calibration."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

from neardup_platform.scoring import calibration as cal


def scored(n: int = 5000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.1
    return np.round(rng.normal(size=n) + 2.2 * labels, 2), labels


def test_precision_and_recall_agree_with_counting() -> None:
    scores, labels = scored()
    curve = cal.precision_recall(scores, labels)
    assert curve.thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)
    matches = [int((scores >= threshold).sum()) for threshold in curve.thresholds]
    hits = np.array([int(labels[scores >= threshold].sum()) for threshold in curve.thresholds])
    assert curve.matches.tolist() == matches
    assert curve.precision.tolist() == (hits / matches).tolist()
    assert curve.recall.tolist() == (hits / labels.sum()).tolist()


def test_true_pairs_without_a_score_lower_recall_alone() -> None:
    scores, labels = scored()
    curve, missed = cal.precision_recall(scores, labels), cal.precision_recall(scores, labels, missed=100)
    found = int(labels.sum())
    assert missed.recall == pytest.approx(curve.recall * found / (found + 100))
    assert missed.precision.tolist() == curve.precision.tolist()
    with pytest.raises(ValueError, match="no true pair"):
        cal.precision_recall(scores, np.zeros_like(labels), missed=100)


def test_counts_by_score_are_those_of_the_pairs() -> None:
    counts = cal.count_scores(np.array([0.5, 0.0, 0.5, 2.0, 0.5]), np.array([True, False, False, True, True]))
    assert counts.scores.tolist() == [2.0, 0.5, 0.0]
    assert counts.true.tolist() == [1, 2, 0]
    assert counts.other.tolist() == [0, 1, 1]
    assert counts.matches(0.5) == (3, 1)
    assert counts.matches(0.6) == (1, 0)
    assert counts.matches(3.0) == (0, 0)


def test_summaries_of_the_curve_agree_with_scikit_learn() -> None:
    scores, labels = scored()
    curve = cal.precision_recall(scores, labels)
    precision, recall, _ = precision_recall_curve(labels, scores)
    assert cal.average_precision(curve) == pytest.approx(average_precision_score(labels, scores))
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert cal.best_f1(curve) == pytest.approx(f1.max())
    assert cal.recall_at_precision(curve, 0.9) == pytest.approx(recall[precision >= 0.9].max())


def test_the_threshold_reaches_the_target_precision() -> None:
    scores, labels = scored()
    threshold = cal.threshold_for_precision(cal.precision_recall(scores, labels), 0.85)
    matches = scores >= threshold
    assert cal.wilson_interval(int(labels[matches].sum()), int(matches.sum()))[0] >= 0.85
    looser = scores >= np.sort(scores[scores < threshold])[-1]
    assert cal.wilson_interval(int(labels[looser].sum()), int(looser.sum()))[0] < 0.85


def test_few_examples_give_a_higher_threshold_than_many() -> None:
    scores, labels = scored()
    few = cal.threshold_for_precision(cal.precision_recall(scores, labels), 0.85)
    many = cal.threshold_for_precision(cal.precision_recall(np.tile(scores, 50), np.tile(labels, 50)), 0.85)
    assert few > many


def test_an_unreachable_precision_gives_the_highest_score() -> None:
    scores, labels = np.array([3.0, 2.0, 1.0]), np.array([False, True, True])
    assert cal.threshold_for_precision(cal.precision_recall(scores, labels), 0.99) == 3.0


def test_platt_recovers_the_true_slope_and_offset() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=4, size=60_000)
    labels = rng.random(60_000) < cal.sigmoid(0.5 * logits - 2)
    slope, offset = cal.fit_platt(logits, labels)
    assert slope == pytest.approx(0.5, rel=0.05)
    assert offset == pytest.approx(-2, rel=0.05)
    assert cal.expected_calibration_error(cal.sigmoid(slope * logits + offset), labels) < 0.01
    assert cal.expected_calibration_error(cal.sigmoid(logits), labels) > 0.05


def test_platt_survives_separable_and_reversed_scores() -> None:
    labels = np.arange(100) >= 50
    for logits in (np.where(labels, 40.0, -40.0), np.where(labels, -3.0, 3.0)):
        slope, offset = cal.fit_platt(logits, labels)
        assert slope > 0
        assert np.isfinite([slope, offset]).all()


def test_wilson_matches_the_published_example() -> None:
    low, high = cal.wilson_interval(95, 100)  # Newcombe 1998 gives 0.888 to 0.978
    assert (round(float(low), 3), round(float(high), 3)) == (0.888, 0.978)
    lows, highs = cal.wilson_interval(np.array([0, 95]), np.array([0, 100]))
    assert (lows.tolist(), highs.tolist()) == ([0.0, low], [1.0, high])
    assert cal.wilson_interval(0, 0) == (0.0, 1.0)


def test_no_true_pair_is_an_error_and_not_a_perfect_score() -> None:
    with pytest.raises(ValueError, match="no true pair"):
        cal.precision_recall(np.ones(3), np.zeros(3, bool))
