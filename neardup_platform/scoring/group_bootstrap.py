"""Intervals of what is counted over pairs, by resampling groups rather than pairs. Pure.

Pairs of one group, or of the same two groups, are right or wrong together, so a pair is no independent trial and a
group is. In each draw a pair counts as often as both of its groups were drawn: the pigeonhole bootstrap (Owen, *The
pigeonhole bootstrap*, 2007). It cannot see what no draw contains, so a count of zero would have the interval 0…0;
`widened` adds the exact Poisson interval.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

RESAMPLES = 1_000
_OUTSIDE = 0.025


def draws_of_groups(groups: int, seed: int = 0, resamples: int = RESAMPLES) -> Iterator[NDArray[np.int64]]:
    """How often each group was drawn, int64 [groups]: as many draws with replacement as there are groups.

    Args:
        groups: number of groups, a distractor being one.
        seed: of the draws.
        resamples: how many arrays to return.
    """
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, groups, groups), minlength=groups)


def middle(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """The 95% interval of draws: the values next to the percentiles 2.5 and 97.5, outwards. Values may be infinite."""
    ordered = np.sort(np.asarray(values, np.float64))
    last = len(ordered) - 1
    return float(ordered[int(_OUTSIDE * last)]), float(ordered[-int(_OUTSIDE * last) - 1])


def poisson_interval(events: int) -> tuple[float, float]:
    """Exact 95% interval of the mean of a Poisson count (Garwood, *Fiducial limits for the Poisson…*, 1936).

    For no event it is 0…3.69: the two-sided form of the rule of three (Hanley and Lippman-Hand, *If nothing goes wrong,
    is everything all right?*, 1983).
    """
    low = chi2.ppf(_OUTSIDE, 2 * events) / 2 if events else 0.0
    return float(low), float(chi2.ppf(1 - _OUTSIDE, 2 * events + 2) / 2)


def widened(interval: tuple[float, float], events: int, of_each: float) -> tuple[float, float]:
    """An interval that is no narrower than that of as many independent events.

    Args:
        interval: from a bootstrap.
        events: counted, such as pairs of groups that were confused.
        of_each: what one of them adds to the value.
    """
    low, high = poisson_interval(events)
    return min(interval[0], low * of_each), max(interval[1], high * of_each)
