"""Intervals by resampling groups, and the exact one of a count."""

import numpy as np
import pytest
from scipy.stats import poisson

from neardup_platform.scoring.group_bootstrap import draws_of_groups, middle, poisson_interval, widened


def test_every_draw_has_as_many_groups_as_there_are() -> None:
    draws = list(draws_of_groups(30, seed=1, resamples=50))
    assert {int(drawn.sum()) for drawn in draws} == {30}
    assert len({tuple(drawn) for drawn in draws}) == 50
    assert np.mean(draws) == 1


def test_the_middle_leaves_a_fortieth_on_either_side_and_allows_infinity() -> None:
    assert middle(np.arange(1_001.0)) == (25, 975)
    assert middle([0.0] * 50 + [1.0] * 900 + [np.inf] * 50) == (0.0, np.inf)
    assert middle([3.0]) == (3.0, 3.0)


def test_no_event_has_the_interval_of_the_rule_of_three() -> None:
    low, high = poisson_interval(0)
    assert low == 0
    assert high == pytest.approx(-np.log(0.025))


@pytest.mark.parametrize("events", [1, 4, 30])
def test_the_interval_of_a_count_ends_where_the_count_has_a_chance_of_a_fortieth(events: int) -> None:
    low, high = poisson_interval(events)
    assert poisson.sf(events - 1, low) == pytest.approx(0.025)
    assert poisson.cdf(events, high) == pytest.approx(0.025)


def test_an_interval_is_widened_and_never_narrowed() -> None:
    assert widened((0.0, 0.0), 0, 2.0) == pytest.approx((0, 7.378), abs=1e-3)
    assert widened((0.1, 90.0), 4, 1.0) == (0.1, 90.0)
