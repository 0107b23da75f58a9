"""What counts differ by without a cause, so that a few images of a quiet hour are not judged like a million. Pure.

A share is above its limit where, if the limit were the true share, so many would be counted in fewer than one hour of
a thousand. Of a hundred thousand images that is next to the limit itself; of ten, one or two are never enough.
"""

from bisect import bisect_left

from scipy.special import betainc, chdtri

# Of an hour at its limit. Far from it, as a healthy hour is, chance is smaller by orders of magnitude.
LEVEL = 0.001


def surely_above(count: float, of: float, share: float) -> bool:
    """Whether so many of these are more than a true share explains (one-sided binomial test).

    Args:
        count, of: both may be fractions, as effective sizes are.
        share: 0 to 1.
    """
    if count <= share * of or share >= 1:
        return False
    return bool(share <= 0 or betainc(count, of - count + 1, share) < LEVEL)


def surely_more_often(count: float, of: float, before: float, of_before: float, factor: float) -> bool:
    """Whether something is surely more than `factor` times as frequent as before.

    Of all that was counted, now and before, the share of now is then above the one that the factor explains
    (Przyborowski and Wilenski, *Homogeneity of results in testing samples from Poisson series*, 1940).
    """
    expected = factor * of / (factor * of + of_before) if of else 1.0
    return surely_above(count, count + before, expected)


def stability_chance(effective: float, effective_before: float, bins: int) -> float:
    """The population stability index of two samples of one distribution that only one of a thousand exceeds.

    It is distributed as χ² with one degree of freedom fewer than there are bins, times 1 / n + 1 / m (Yurdakul,
    *Statistical properties of population stability index*, 2018).
    """
    if min(effective, effective_before) <= 0:
        return 0.0
    return float(chdtri(bins - 1, LEVEL)) * (1 / effective + 1 / effective_before)


def fewest_surely_above(of: int, share: float) -> int | None:
    """The smallest count that is surely above a share of these; None where even all of them are not."""
    count = bisect_left(range(of + 1), True, key=lambda each: surely_above(each, of, share))
    return count if count <= of else None


def mean_square_chance(dimensions: float) -> float:
    """How many times its mean a sum of squares of so many equal Gaussian terms reaches once in a thousand."""
    return float(chdtri(dimensions, LEVEL)) / dimensions
