"""The tail of the wrong pairs' logits: how fast wrong matches become rarer as the threshold rises. Pure.

Logits of wrong pairs → **a generalised Pareto tail** → wrong matches at thresholds, and in corpora, beyond the data.
Peaks over threshold: whatever the distribution, excesses over a high level approach the generalised Pareto distribution
(Pickands 1975; Coles, *An Introduction to Statistical Modeling of Extreme Values*, 2001, chapter 4).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logit

# The logit of the largest float32 score below 1. Above it, scores are 1 and nothing can be told apart.
CEILING = float(logit(np.nextafter(np.float32(1), np.float32(0)).astype(np.float64)))
# Fewer excesses leave the shape undetermined.
LEAST_EXCESSES = 100
_RATIOS = 1e-4, 10.0
# One-sided, at 5%.
_TOO_LIGHT = -1.64
_NEARLY_EXPONENTIAL = 1e-9


@dataclass(frozen=True, slots=True)
class Tail:
    """Excesses over a logit follow a generalised Pareto distribution, or one of a lighter tail.

    Attributes:
        start: the logit from which it holds.
        scale: σ, above 0, in logits.
        shape: ξ, 0 or more; 0 is the exponential distribution.
        bend: β, 0 or more, and 0 if the shape is not: how fast the hazard 1/σ + 2βx rises, as that of a Gaussian does.
    """

    start: float
    scale: float
    shape: float
    bend: float = 0.0

    def survival(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the pairs above the start that are also at or above each logit, 0…1; 1 below the start.

        It is (1 + ξ·x/σ)^(−1/ξ) for an excess x (Coles 2001, 4.2), and e^(−x/σ − βx²) for ξ = 0.
        """
        excess = np.maximum(logits - self.start, 0)
        if self.shape < _NEARLY_EXPONENTIAL:
            return np.exp(-excess / self.scale - self.bend * excess**2)
        return np.exp(-np.log1p(self.shape * excess / self.scale) / self.shape)


def logits_of(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits of scores, float64, within ±CEILING: a score of 1 becomes CEILING."""
    return np.clip(logit(scores.astype(np.float64)), -CEILING, CEILING)


def tail_start(logits: NDArray[np.float64]) -> float | None:
    """The logit from which a tail is fitted: the lowest candidate above which excesses do not look lighter-tailed.

    Candidates are the k-th largest logits: k = n^⅔ / ln ln n first (Loretan and Phillips 1994; compared with other
    rules by Scarrott and MacDonald, *A review of extreme value threshold estimation*, 2012), then ever fewer, down to
    LEAST_EXCESSES. Excesses of an exponential tail vary as much as their mean, lighter ones less: with c the
    coefficient of variation, √k·(c² − 1)/2 is standard normal for exponential excesses (del Castillo, Daoudi and
    Lockhart, *Methods to distinguish between polynomial and exponential tails*, 2014). A candidate passes if that is
    above −1.64. If none does, the last is taken.

    Args:
        logits: float64 [n], of wrong pairs.

    Returns:
        None if wrong pairs are too few, or nearly all of the highest are at CEILING.
    """
    most = round(len(logits) ** (2 / 3) / np.log(np.log(max(len(logits), 16))))
    if most < LEAST_EXCESSES:
        return None
    highest = -np.sort(-logits)[: most + 1]
    candidates = np.geomspace(most, LEAST_EXCESSES, 1 + round(2 * np.log2(most / LEAST_EXCESSES)))
    for k in candidates.round().astype(np.int64):
        start = float(highest[k])
        excesses = highest[(highest > start) & (highest < CEILING)] - start
        if len(excesses) < LEAST_EXCESSES // 2:
            return None
        if _lightness(excesses) > _TOO_LIGHT:
            break
    return start


def fit_tail(logits: NDArray[np.float64], weights: NDArray[np.float64], start: float, *, light: bool = False) -> Tail:
    """Maximum likelihood over ξ ≥ 0, with pairs at CEILING counted as at or above it (censored).

    A negative shape would mean that no wrong pair can score above some end point, and an extrapolation would promise
    none at all; so the lightest tail is exponential, and wrong matches of lighter ones are overestimated. `light` also
    admits tails whose hazard rises linearly, as that of Gaussian logits nearly does: without an end point, but
    overconfident if a few of the wrong pairs, such as wrong labels, have a heavier tail than the rest.

    Args:
        logits: float64 [n], of wrong pairs; those up to `start` are ignored.
        weights: float64 [n], how often each counts.
        start: the logit from which the tail is fitted.
        light: whether the tail may be lighter than exponential.
    """
    kept = (logits > start) & (weights > 0)
    excess, weight = logits[kept] - start, weights[kept]
    seen = np.where(logits[kept] < CEILING, weight, 0.0)
    mean = max(float(weight @ excess) / max(float(seen.sum()), 1.0), _NEARLY_EXPONENTIAL)
    if not len(excess):
        return Tail(start, mean, 0.0)
    scale, shape = _heavier(excess / mean, weight, seen)
    if shape or not light:
        return Tail(start, mean * scale, shape)
    scale, bend = _lighter(excess / mean, weight, seen)
    return Tail(start, mean * scale, 0.0, bend / mean**2)


def _heavier(x: NDArray[np.float64], weight: NDArray[np.float64], seen: NDArray[np.float64]) -> tuple[float, float]:
    """Scale and shape of a generalised Pareto tail of excesses of mean 1; 1 and 0 if the exponential one is likelier.

    For a ratio θ = ξ/σ the likelihood is largest at ξ = Σ ln(1 + θx) / m with m uncensored excesses x, which leaves one
    parameter to search (Grimshaw, *Computing maximum likelihood estimates for the generalized Pareto distribution*,
    1993). The cost is the negative log-likelihood per excess, less that of the exponential tail.
    """
    m = max(float(seen.sum()), 1.0)

    def cost(ratio: float) -> float:
        logs = np.log1p(ratio * x)
        return float(np.log(weight @ logs / m / ratio) + seen @ logs / m)

    ratio = _least(cost)
    if cost(ratio) >= 0:
        return 1.0, 0.0
    shape = float(weight @ np.log1p(ratio * x)) / m
    return shape / ratio, shape


def _lighter(x: NDArray[np.float64], weight: NDArray[np.float64], seen: NDArray[np.float64]) -> tuple[float, float]:
    """Scale and bend of a tail with the hazard a(1 + 2rx), of excesses of mean 1; 1 and 0 if that does not rise.

    For a ratio r = β/a the likelihood is largest at a = m / Σ(x + rx²).
    """
    m = max(float(seen.sum()), 1.0)

    def cost(ratio: float) -> float:
        return float(np.log(weight @ (x + ratio * x**2) / m) - seen @ np.log1p(2 * ratio * x) / m)

    ratio = _least(cost)
    if cost(ratio) >= 0:
        return 1.0, 0.0
    hazard = m / float(weight @ (x + ratio * x**2))
    return 1 / hazard, hazard * ratio


def _least(cost: Callable[[float], float]) -> float:
    """The ratio with the least cost, between bounds, searched on a logarithmic scale."""
    low, high = (float(np.log(end)) for end in _RATIOS)
    found = minimize_scalar(lambda power: cost(float(np.exp(power))), bounds=(low, high), method="bounded")
    return float(np.exp(found.x))


def _lightness(excesses: NDArray[np.float64]) -> float:
    """√k·(c² − 1)/2, standard normal for exponential excesses, negative for those of a lighter tail."""
    variation = float(excesses.std() / excesses.mean())
    return float(np.sqrt(len(excesses))) * (variation**2 - 1) / 2
