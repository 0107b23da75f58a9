"""The fitted tail of wrong pairs' logits, against distributions whose tail is known."""

import numpy as np
import pytest
from scipy.stats import genpareto, logistic, norm

from neardup_platform.scoring.score_tail import CEILING, Tail, fit_tail, logits_of, tail_start

N = 100_000
TIMES_RARER = np.array([1, 100, 1_000])


def ratios(distribution, seeds: range, *, light: bool = False) -> np.ndarray:
    """Extrapolated over true rate, [seed, how many times rarer than one pair of the data]."""
    levels = distribution.isf(1 / N / TIMES_RARER)
    found = []
    for seed in seeds:
        logits = distribution.rvs(N, random_state=seed)
        start = tail_start(logits)
        assert start is not None
        tail = fit_tail(logits, np.ones(N), start, light=light)
        found.append((logits > start).mean() * tail.survival(levels) * N * TIMES_RARER)
    return np.array(found)


def test_an_exponential_tail_is_extrapolated_to_its_true_rate() -> None:
    found = ratios(logistic(-6, 1), range(60))
    assert np.all(np.abs(np.log(np.median(found, axis=0))) < np.log([1.3, 1.7, 2]))


def test_a_heavy_tail_is_extrapolated_to_its_true_rate() -> None:
    found = ratios(genpareto(0.2, loc=-6, scale=0.5), range(60))
    assert np.all(np.abs(np.log(np.median(found, axis=0))) < np.log([1.3, 1.7, 2]))


def test_a_gaussian_tail_is_overestimated_never_underestimated() -> None:
    median = np.median(ratios(norm(-6, 2), range(60)), axis=0)
    assert np.all(median > 1)
    assert np.all(median < [3, 15, 40])


def test_a_light_fit_of_a_gaussian_tail_does_not_overestimate_it() -> None:
    heavy, light = (np.median(ratios(norm(-6, 2), range(30), light=light), axis=0) for light in (False, True))
    assert np.all(light < np.minimum(heavy, [2, 3, 4]))
    assert np.all(light > [0.5, 0.05, 0.01])


def test_a_light_fit_finds_a_rising_hazard_and_only_that() -> None:
    rng = np.random.default_rng(5)
    # Inversion of the survival e^(−x − 0.5x²).
    excesses = np.sqrt(1 + 2 * rng.exponential(1.0, 50_000)) - 1
    tail = fit_tail(3 + excesses, np.ones(50_000), 3.0, light=True)
    assert (tail.scale, tail.shape, tail.bend) == pytest.approx((1.0, 0.0, 0.5), abs=0.05)
    heavy = genpareto(0.3).rvs(5_000, random_state=1)
    assert fit_tail(heavy, np.ones(5_000), 0.0, light=True) == fit_tail(heavy, np.ones(5_000), 0.0)


def test_scale_and_shape_are_those_of_the_distribution() -> None:
    for shape in (0.0, 0.3):
        excesses = genpareto(shape, scale=0.7).rvs(50_000, random_state=1)
        tail = fit_tail(3 + excesses, np.ones(50_000), 3.0)
        assert tail.shape == pytest.approx(shape, abs=0.02)
        assert tail.scale == pytest.approx(0.7, abs=0.02)


def test_pairs_at_the_ceiling_are_not_mistaken_for_pairs_that_end_there() -> None:
    logits = 14 + np.random.default_rng(2).exponential(2.0, 20_000)
    cut = np.minimum(logits, CEILING)
    assert (cut == CEILING).mean() > 0.2
    assert fit_tail(cut, np.ones(20_000), 14.0).scale == pytest.approx(2.0, abs=0.1)


def test_a_weight_counts_like_as_many_pairs() -> None:
    rng = np.random.default_rng(3)
    logits, times = genpareto(0.2).rvs(500, random_state=3), rng.integers(0, 4, 500)
    weighted = fit_tail(logits, times.astype(float), 0.0)
    repeated = fit_tail(np.repeat(logits, times), np.ones(times.sum()), 0.0)
    assert (weighted.scale, weighted.shape) == pytest.approx((repeated.scale, repeated.shape), rel=1e-6)


def test_the_tail_starts_where_excesses_look_exponential() -> None:
    rng = np.random.default_rng(4)
    body, tail = rng.uniform(-8, 0, 100_000), rng.exponential(1.0, 1_000)
    start = tail_start(np.concatenate([body, tail]))
    assert start is not None
    assert start > -0.1


@pytest.mark.parametrize(
    "logits", [np.zeros(0), np.linspace(-9, 0, 300), np.full(100_000, CEILING)], ids=["none", "few", "saturated"]
)
def test_too_few_distinguishable_pairs_have_no_tail(logits: np.ndarray) -> None:
    assert tail_start(logits) is None


def test_survival_starts_at_one_and_a_saturated_score_has_a_finite_logit() -> None:
    for shape in (0.0, 0.5):
        assert Tail(2.0, 1.0, shape).survival(np.array([-9.0, 2.0])).tolist() == [1.0, 1.0]
    assert Tail(0.0, 1.0, 0.5).survival(np.array([2.0]))[0] == pytest.approx(1 / 4)
    assert Tail(0.0, 2.0, 0.0, 0.5).survival(np.array([2.0]))[0] == pytest.approx(np.exp(-3))
    assert logits_of(np.array([0, 0.5, 1], np.float32)).tolist() == [-CEILING, 0.0, CEILING]
