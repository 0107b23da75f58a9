"""Wrong matches by corpus size, against brute force and against populations whose rates are known."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from neardup_platform.evaluation.corpus_growth import (
    Rates,
    ScoredPairs,
    pairs_of_pictures,
    precision_of,
    rates,
    scored_pairs,
    threshold_for,
    wrong_per_image,
)
from neardup_platform.evaluation.corpus_size_metrics import (
    Growth,
    by_corpus_size,
    corpus_sizes,
    growth_of,
    rates_at,
    tail_metrics,
    wrong_matches,
)
from neardup_platform.scoring.score_tail import CEILING, tail_start

LEVELS = np.arange(-4.0, 12.0, 0.05)


def population(groups: int, seed: int, *, spread: float = 1.0) -> ScoredPairs:
    """Groups of one to three pictures, all pairs scored; logits of wrong pairs are N(−8, 4), of true pairs N(4, 4).

    Half of the variance belongs to the two groups of a pair (`spread` 1) or none of it (`spread` 0).
    """
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), rng.integers(1, 4, groups))
    later, earlier = np.tril_indices(len(group), -1)
    true = group[later] == group[earlier]
    own = spread * rng.normal(0, 1, groups)
    noise = rng.normal(0, np.sqrt(4 - 2 * spread**2), len(later))
    wrong = -8 + own[group[later]] + own[group[earlier]] + noise
    logits = np.where(true, 4 + 2 * rng.normal(0, 1, groups)[group[later]], wrong)
    return scored_pairs(logits, true, (later, earlier), group, np.zeros(len(group), np.int64))


def ones(pairs: ScoredPairs) -> np.ndarray:
    return np.ones(len(pairs.pictures), np.int64)


def test_the_expectation_over_subsets_equals_drawing_them() -> None:
    group = np.repeat(np.arange(40), np.random.default_rng(1).integers(1, 4, 40))
    at, n, corpus = 20, len(group), 25
    rng = np.random.default_rng(2)
    scores = rng.normal(-3, 1, (n, n))
    later, earlier = np.tril_indices(n, -1)
    wrong = (group[later] != group[earlier]) & (scores[later, earlier] >= LEVELS[at])
    true, nowhere = group[later] == group[earlier], np.zeros(n, int)
    pairs = scored_pairs(scores[later, earlier], true, (later, earlier), group, nowhere)
    found, _ = rates(pairs, LEVELS, None, ones(pairs))
    drawn = []
    for _ in range(4_000):
        kept = np.zeros(n, bool)
        kept[rng.choice(n, corpus, replace=False)] = True
        drawn.append((wrong & kept[later] & kept[earlier]).sum() / corpus)
    expected = wrong_per_image(float(found.counted[at]), corpus)
    assert expected == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(len(drawn)))
    assert wrong_per_image(float(found.counted[at]), n) == pytest.approx(wrong.sum() / n)


def test_parts_are_never_compared_and_count_as_corpora_of_their_size() -> None:
    groups = np.array([0, 0, 1, 2, 2, 3])
    pairs = scored_pairs(
        np.array([3.0, 1.0]), np.array([True, False]), (np.array([1, 5]), np.array([0, 4])), groups, groups // 2
    )
    assert pairs_of_pictures(pairs, ones(pairs)) == 3 + 3
    found, _ = rates(pairs, np.array([0.0, 2.0]), None, ones(pairs))
    assert found.counted.tolist() == [1 / 6, 0]
    assert found.found.tolist() == [0.5, 0.5]
    assert found.true_per_image == pytest.approx(2 / 6)


def test_a_group_drawn_twice_counts_twice_in_every_pair() -> None:
    pairs = population(12, seed=3)
    drawn = np.random.default_rng(4).integers(0, 3, 12)
    found, _ = rates(pairs, np.array([-8.0]), None, drawn)
    first, second = pairs.wrong_groups[:, pairs.wrong >= -8]
    images = int(drawn @ pairs.pictures)
    assert found.counted[0] == pytest.approx((drawn[first] * drawn[second]).sum() / (images * (images - 1) / 2))
    assert found.true_per_image == pytest.approx(drawn @ pairs.true_pairs / images)


def test_without_a_match_precision_is_one() -> None:
    assert precision_of(np.array([0.0, 1.0]), np.array([0.0, 3.0])).tolist() == [1.0, 0.25]


def test_the_threshold_is_the_lowest_that_keeps_the_precision_and_rises_with_the_corpus() -> None:
    found = Rates(np.arange(4.0), *(np.array([1e-2, 1e-3, 1e-4, 0]),) * 2, np.array([1, 0.9, 0.5, 0]), 1.0)
    assert [threshold_for(found, corpus, 0.99) for corpus in (3, 15, 100, 10_000)] == [0, 1, 2, None]
    assert found.precision(101)[1] == pytest.approx(0.9 / (0.9 + 1e-3 * 50))


def true_threshold(pairs: ScoredPairs, corpus: int) -> float:
    """The logit at which the precision of the whole population is 0.99."""
    per_image = pairs.true_pairs.sum() / pairs.pictures.sum()

    def excess(level: float) -> float:
        true, wrong = per_image * norm.sf(level, 4, 2), norm.sf(level, -8, 2) * (corpus - 1) / 2
        return true / (true + wrong) - 0.99

    return brentq(excess, -4, 8)


def test_the_threshold_for_a_million_images_is_near_the_true_one_and_on_the_safe_side() -> None:
    pairs = population(700, seed=5, spread=0.0)
    found, tail = rates(pairs, LEVELS, tail_start(pairs.wrong), ones(pairs))
    assert tail is not None
    at = threshold_for(found, 1_000_000, 0.99)
    assert at is not None
    assert -0.3 < LEVELS[at] - true_threshold(pairs, 1_000_000) < 2.5
    assert found.found[at] == pytest.approx(norm.sf(LEVELS[at], 4, 2), abs=0.06)


def growth(seed: int, groups: int = 80) -> Growth:
    pairs = population(groups, seed)
    threshold = 1 / (1 + np.exp(3.0))
    return growth_of(rates_at(pairs, int(pairs.pictures.sum()), threshold), seed, resamples=100)


def test_the_interval_of_wrong_matches_contains_the_true_rate_nineteen_times_in_twenty() -> None:
    held = []
    for seed in range(40):
        found = growth(seed)
        corpus = found.measured.images
        value, low, high = wrong_matches(found, corpus, extrapolated=False)
        sizes = found.measured.pairs.pictures
        between = 1 - sizes @ (sizes - 1) / (corpus * (corpus - 1))
        held.append(low <= between * norm.sf(-3, -8, 2) * (corpus - 1) / 2 <= high)
        assert low <= value <= high
    assert sum(held) >= 35


def test_the_interval_of_the_threshold_contains_the_true_one() -> None:
    held = []
    for seed in range(15):
        found = growth(seed, groups=200)
        row = next(row for row in by_corpus_size(found) if row["images"] == 100_000)
        truth = 1 / (1 + np.exp(-true_threshold(found.measured.pairs, 100_000)))
        held.append(row["threshold_at_p99_low"] <= truth <= (row["threshold_at_p99_high"] or 1))
    assert sum(held) >= 13


def test_wrong_matches_grow_in_proportion_and_precision_and_recall_fall() -> None:
    rows = by_corpus_size(growth(seed=1, groups=300))
    assert [row["images"] for row in rows if row["extrapolated"]] == [100_000, 1_000_000, 10_000_000]
    first, *_, last = rows
    ratio = last["wrong_matches_per_1000"] / rows[-2]["wrong_matches_per_1000"]
    assert ratio == pytest.approx(10, rel=1e-4)
    for name in ("precision", "recall_at_p99"):
        assert first[name] > last[name]
        assert all(row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] for row in rows)
    assert first["threshold_at_p99"] < rows[1]["threshold_at_p99"] < 1


def test_too_few_wrong_pairs_leave_the_threshold_unknown_and_bound_the_wrong_matches() -> None:
    pairs = population(10, seed=2)
    found = growth_of(rates_at(pairs, int(pairs.pictures.sum()), 0.9999), resamples=50)
    row = by_corpus_size(found)[-1]
    assert (row["threshold_at_p99"], row["recall_at_p99"], row["recall_at_p99_high"]) == (None, None, None)
    assert row["wrong_matches_per_1000"] == row["wrong_matches_per_1000_low"] == 0
    assert row["wrong_matches_per_1000_high"] > 0
    assert row["precision_low"] < row["precision"] == 1
    assert tail_metrics(found.measured)["score"] is None


def test_a_precision_that_no_score_reaches_has_no_threshold_and_no_recall() -> None:
    rng = np.random.default_rng(6)
    groups = np.arange(400) // 2
    later, earlier = np.tril_indices(400, -1)
    logits = rng.normal(0, 2, len(later))
    pairs = scored_pairs(logits, groups[later] == groups[earlier], (later, earlier), groups, np.zeros(400, int))
    rows = by_corpus_size(growth_of(rates_at(pairs, 400, 0.5), resamples=20))
    assert {(row["threshold_at_p99"], row["recall_at_p99"]) for row in rows} == {(None, 0.0)}


def test_saturated_pairs_are_counted() -> None:
    logits = np.array([CEILING, CEILING, CEILING, 1.0])
    ends = np.array([1, 2, 3, 3]), np.array([0, 0, 0, 1])
    pairs = scored_pairs(logits, np.array([True, False, False, False]), ends, np.array([0, 0, 1, 2]), np.zeros(4, int))
    shown = tail_metrics(rates_at(pairs, 4, 0.5))
    assert (shown["saturated_wrong"], shown["saturated_true"]) == (2, 1)


def test_the_ladder_ends_with_the_evaluated_size() -> None:
    assert corpus_sizes(4_945)[:3] == [(1_000, False), (3_000, False), (4_945, False)]
    assert corpus_sizes(13)[0] == (13, False)
    assert corpus_sizes(200_000)[-3:] == [(200_000, False), (1_000_000, True), (10_000_000, True)]
