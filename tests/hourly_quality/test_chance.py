"""Claims about chance: bounds are those of the binomial and χ² distributions, and quiet hours are rarely above them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2

from neardup_platform.hourly_quality.chance import (
    LEVEL,
    fewest_surely_above,
    mean_square_chance,
    stability_chance,
    surely_above,
    surely_more_often,
)
from neardup_platform.hourly_quality.drift import stability_index


@given(st.integers(0, 400), st.integers(1, 400), st.floats(0.001, 0.999))
def test_a_count_is_surely_above_a_share_where_the_binomial_test_says_so(count: int, of: int, share: float) -> None:
    count = min(count, of)
    assert surely_above(count, of, share) == (count > share * of and binom.sf(count - 1, of, share) < LEVEL)


@given(st.integers(0, 5_000), st.sampled_from([0.0, 0.01, 0.05, 0.5, 1.0]))
def test_the_fewest_surely_above_are_so_and_one_fewer_is_not(of: int, share: float) -> None:
    fewest = fewest_surely_above(of, share)
    if fewest is None:
        assert not surely_above(of, of, share)
    else:
        assert surely_above(fewest, of, share)
        assert not surely_above(fewest - 1, of, share)


def test_a_limit_is_sharp_for_many_and_one_or_two_are_never_enough() -> None:
    assert [surely_above(count, 10, 0.01) for count in (1, 2, 3)] == [False, False, True]
    assert fewest_surely_above(1, 0.01) is None
    fewest = fewest_surely_above(720_000, 0.01)
    assert fewest is not None
    assert fewest / 720_000 == pytest.approx(0.01, rel=0.04)
    assert surely_above(1, 1_000_000, 0), "what may not happen at all is seen at once"
    assert not surely_above(5, 5, 1)


@pytest.mark.parametrize("images", [3, 10, 40, 100, 400, 3_000])
def test_quiet_hours_at_half_the_limit_are_nearly_never_above_it(images: int) -> None:
    rng = np.random.default_rng(images)
    counts = rng.binomial(images, 0.005, 20_000)
    assert np.mean([surely_above(count, images, 0.01) for count in counts]) <= 0.0005


def test_what_is_twice_the_limit_is_seen_in_an_hour_of_a_few_thousand() -> None:
    counts = np.random.default_rng(1).binomial(5_000, 0.02, 200)
    assert all(surely_above(count, 5_000, 0.01) for count in counts)


def test_a_frequency_is_compared_with_an_uncertain_one() -> None:
    assert not surely_more_often(6, 500, 50, 10_000, 2), "2.4 times as often, of 2.5 expected ones"
    assert surely_more_often(800, 50_000, 50, 10_000, 2)
    assert surely_more_often(6_000, 10_000, 200, 1_000, 2)
    assert not surely_more_often(0, 0, 50, 10_000, 2)
    assert not surely_more_often(0, 500, 0, 10_000, 2)


def test_the_stability_index_of_one_distribution_is_within_chance() -> None:
    rng = np.random.default_rng(2)
    shares = rng.dirichlet(np.ones(21) * 3)
    found = [stability_index(rng.multinomial(500, shares), rng.multinomial(5_000, shares)) for _ in range(2_000)]
    within = np.mean(np.array(found) <= stability_chance(500, 5_000, 21))
    assert within >= 1 - 3 * LEVEL
    assert np.quantile(found, 0.99) > stability_chance(500, 5_000, 21) / 2, "the bound is not far away"


def test_a_sum_of_squares_reaches_so_many_times_its_mean() -> None:
    assert mean_square_chance(1) == pytest.approx(chi2.isf(LEVEL, 1))
    assert mean_square_chance(100_000) == pytest.approx(1, abs=0.02)
