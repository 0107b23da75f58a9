"""The tail of the wrong pairs' logits: how fast wrong matches become rarer as the threshold rises. Pure.

Logits of wrong pairs → **a generalised Pareto tail** → wrong matches at thresholds, and in corpora, beyond the data.
Peaks over threshold: whatever the distribution, excesses over a high level approach the generalised Pareto distribution
(Pickands 1975; Coles, *An Introduction to Statistical Modeling of Extreme Values*, 2001, chapter 4).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logit

# The logit of the largest float32 score below 1. Above it, scores are 1 and nothing can be told apart.
CEILING = float(logit(np.nextafter(np.float32(1), np.float32(0)).astype(np.float64)))
# Fewer excesses leave the shape undetermined.
LEAST_EXCESSES = 100
_LARGEST_RATIO = 10.0
# One-sided, at 5%.
_TOO_LIGHT = -1.64
_NEARLY_EXPONENTIAL = 1e-9


@dataclass(frozen=True, slots=True)
class Tail:
    """Excesses over a logit follow a generalised Pareto distribution.

    Attributes:
        start: the logit from which it holds.
        scale: σ, above 0, in logits.
        shape: ξ, 0 or more; 0 is the exponential distribution.
    """

    start: float
    scale: float
    shape: float

    def survival(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the pairs above the start that are also at or above each logit, 0…1; 1 below the start.

        It is (1 + ξ·x/σ)^(−1/ξ) for an excess x, and e^(−x/σ) for ξ = 0 (Coles 2001, 4.2).
        """
        excess = np.maximum(logits - self.start, 0) / self.scale
        if self.shape < _NEARLY_EXPONENTIAL:
            return np.exp(-excess)
        return np.exp(-np.log1p(self.shape * excess) / self.shape)


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


def fit_tail(logits: NDArray[np.float64], weights: NDArray[np.float64], start: float) -> Tail:
    """Maximum likelihood over ξ ≥ 0, with pairs at CEILING counted as at or above it (censored).

    A negative shape would mean that no wrong pair can score above some end point, and an extrapolation would promise
    none at all; so the lightest tail is exponential. For lighter ones it overestimates wrong matches: for Gaussian
    logits about twice at the highest of the data, and twentyfold where they are a thousand times rarer. For a ratio
    θ = ξ/σ the likelihood is largest at ξ = Σ ln(1 + θx) / m with m uncensored excesses x, which leaves one parameter
    to search (Grimshaw, *Computing maximum likelihood estimates for the generalized Pareto distribution*, 1993).

    Args:
        logits: float64 [n], of wrong pairs; those up to `start` are ignored.
        weights: float64 [n], how often each counts.
        start: the logit from which the tail is fitted.
    """
    kept = (logits > start) & (weights > 0)
    excess, weight = logits[kept] - start, weights[kept]
    seen = np.where(logits[kept] < CEILING, weight, 0.0)
    m = max(float(seen.sum()), 1.0)
    mean = max(float(weight @ excess) / m, _NEARLY_EXPONENTIAL)

    def cost(ratio: float) -> float:
        logs = np.log1p(ratio * excess / mean)
        return float(np.log(weight @ logs / m) - np.log(ratio / mean) + seen @ logs / m)

    found = minimize_scalar(
        lambda power: cost(np.exp(power)), bounds=(np.log(1e-4), np.log(_LARGEST_RATIO)), method="bounded"
    )
    # The limit of the cost for θ → 0, the exponential distribution: ln(mean) + 1 against ln(ξ/θ) + 1 + Σ.
    if not len(excess) or found.fun >= np.log(mean):
        return Tail(start, mean, 0.0)
    ratio = float(np.exp(found.x)) / mean
    shape = float(weight @ np.log1p(ratio * excess)) / m
    return Tail(start, shape / ratio, shape)


def _lightness(excesses: NDArray[np.float64]) -> float:
    """√k·(c² − 1)/2, standard normal for exponential excesses, negative for those of a lighter tail."""
    variation = float(excesses.std() / excesses.mean())
    return float(np.sqrt(len(excesses))) * (variation**2 - 1) / 2
