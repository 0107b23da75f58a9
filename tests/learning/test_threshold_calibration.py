"""Claims about fitting thresholds to corpus size and distinctiveness, on scores whose tail is known."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit

from neardup_platform.learning.classifier.candidate_pairs import Pairs
from neardup_platform.learning.classifier.threshold_calibration import (
    KEPT,
    STEPS,
    Decided,
    Goal,
    crowding_level,
    decision_rates,
    fit_table,
)

PICTURES, WRONG = 4_000, 6_000
# Wrong pairs lie one in e^1 rarer for each logit, from −4 on; true ones around 6.
RNG = np.random.default_rng(0)
WRONG_LOGITS, TRUE_LOGITS = RNG.exponential(1.0, WRONG) - 4, RNG.normal(6, 2, PICTURES // 2)
MATCH, HEAD = Goal(float(expit(1.0)), 0.98, 0.96), Goal(float(expit(-1.0)), 0.95, 0.9)
# Picture 2k and 2k + 1 are copies; wrong pairs join random pictures of the first half.
FIRST = RNG.integers(0, PICTURES // 2, WRONG)
SECOND = (FIRST + 2 + RNG.integers(0, PICTURES // 2 - 4, WRONG)) % (PICTURES // 2)
PAIRS = Pairs(
    np.concatenate([np.arange(0, PICTURES, 2), np.minimum(FIRST, SECOND)]),
    np.concatenate([np.arange(1, PICTURES, 2), np.maximum(FIRST, SECOND)]),
    np.arange(PICTURES // 2 + WRONG) < PICTURES // 2,
)
SCORES = expit(np.concatenate([TRUE_LOGITS, WRONG_LOGITS]))
GROUPS = np.arange(PICTURES) // 2
EVERY, CROWDED = np.ones(PICTURES, np.bool_), np.arange(PICTURES) < PICTURES // 2


def test_rates_follow_the_tail_and_count_each_pair_half_for_either_image() -> None:
    levels = np.array([-4.0, 0.0, 4.0])
    rates = decision_rates(Decided.of(SCORES, PAIRS, GROUPS, EVERY), levels, -4.0)
    possible = PICTURES * (PICTURES - 1) / 2
    assert rates.wrong == pytest.approx(WRONG * np.exp(-4 - levels) / possible, rel=0.2)
    assert rates.true_per_image == pytest.approx(0.5)
    assert rates.found[2] == pytest.approx(0.84, abs=0.03)
    # The next image meets all of them: 1,000 images have 1,000 times as many wrong matches each as one.
    assert rates.precision(1_000)[1] == pytest.approx(0.5 / (0.5 + 1_000 * WRONG * np.exp(-4) / possible), rel=0.05)


def test_thresholds_rise_with_the_corpus_and_hold_the_precision_until_recall_would_suffer() -> None:
    table = fit_table(SCORES, PAIRS, GROUPS, (None, ~EVERY), MATCH, HEAD)
    assert table is not None
    rows = [step.distinctive for step in table.steps]
    assert [step.images for step in table.steps] == list(STEPS)
    assert (rows[0].match, rows[0].head) == pytest.approx((MATCH.threshold, HEAD.threshold))
    assert all(one.match <= other.match and one.head <= other.head for one, other in pairwise(rows))
    assert rows[-1].match > rows[0].match
    assert all(row.recall >= KEPT * rows[0].recall for row in rows)
    held = [row for row in rows if row.precision >= MATCH.precision]
    assert 0 < len(held) < len(rows), "early steps hold the precision, the last ones state less"
    assert all(row.wrong_matches_per_1000_low < row.wrong_matches_per_1000 for row in rows)
    assert all(row.wrong_matches_per_1000 < row.wrong_matches_per_1000_high for row in rows)
    # At one threshold, ten times the corpus has ten times the wrong matches.
    assert rows[-1].match == rows[-3].match
    assert rows[-1].wrong_matches_per_1000 == pytest.approx(10 * rows[-3].wrong_matches_per_1000)


def test_a_stratum_with_more_wrong_pairs_gets_higher_thresholds() -> None:
    table = fit_table(SCORES, PAIRS, GROUPS, (0.5, RNG.permutation(CROWDED) | CROWDED), MATCH, HEAD)
    assert table is not None
    assert table.crowding == 0.5
    at = table.at(20_000, undistinctive=True), table.at(20_000, undistinctive=False)
    assert at[0].match >= at[1].match


def test_a_stratum_without_wrong_pairs_shares_the_thresholds_of_all() -> None:
    table = fit_table(SCORES, PAIRS, GROUPS, (0.5, CROWDED), MATCH, HEAD)
    assert table is not None
    assert all(step.distinctive == step.undistinctive for step in table.steps)


def test_too_few_wrong_pairs_give_no_table() -> None:
    first = slice(PICTURES // 2 + 50)
    few = Pairs(PAIRS.a[first], PAIRS.b[first], PAIRS.same[first])
    assert fit_table(SCORES[: len(few.a)], few, GROUPS, (None, ~EVERY), MATCH, HEAD) is None


def test_the_level_is_where_wrong_matches_are_crowded_and_true_ones_are_not() -> None:
    crowding = np.where(CROWDED, 0.6, 0.3).astype(np.float32)
    assert crowding_level(crowding, PAIRS, SCORES, HEAD.threshold) == pytest.approx(0.6)
    assert crowding_level(-crowding, PAIRS, SCORES, HEAD.threshold) is None
    assert crowding_level(crowding, PAIRS, SCORES, float(expit(4.0))) is None, "fewer than 50 wrong pairs"
