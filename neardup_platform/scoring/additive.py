"""An additive model: the logit is a sum of curves, one of each feature, so every decision can be read off its terms.

Features → **terms → logit** → second look. A curve is linear between its knots and constant beyond them: far from what
was seen in training, a feature says no more than the most extreme that was seen. (Hastie and Tibshirani, *Generalized
Additive Models*, 1986.) Kinds of pictures that were left out of training are judged better than by trees or networks of
the same features (docs/adr/0029).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.calibration import sigmoid
from neardup_platform.scoring.curve_kernels import sum_curves

Features = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """The term of one feature.

    Attributes:
        feature: its name.
        knots: ascending, at least one.
        values: the term at each knot, a summand of the logit.
    """

    feature: str
    knots: tuple[float, ...]
    values: tuple[float, ...]


# Without slots, for the cached arrays.
@dataclass(frozen=True)
class AdditiveModel:
    """Curves in the order of the features, and the logit where all of them are 0.

    Raises:
        ValueError: a curve has no knots, not as many values, or knots that do not ascend.
    """

    curves: tuple[Curve, ...]
    offset: float

    def __post_init__(self) -> None:
        for curve in self.curves:
            rising = all(one < other for one, other in pairwise(curve.knots))
            if not curve.knots or len(curve.knots) != len(curve.values) or not rising:
                raise ValueError(f"the curve of {curve.feature!r} needs ascending knots and as many values")
            if not np.isfinite([*curve.knots, *curve.values]).all():
                raise ValueError(f"the curve of {curve.feature!r} has a knot or a value that is not finite")

    @property
    def features(self) -> tuple[str, ...]:
        """Names, in the order of the columns."""
        return tuple(curve.feature for curve in self.curves)

    def terms(self, features: Features) -> Features:
        """Returns the summands of the logit, float64 [n, features]."""
        columns = (np.interp(column, c.knots, c.values) for column, c in zip(features.T, self.curves, strict=True))
        return np.stack(list(columns), axis=1) if self.curves else np.zeros(features.shape)

    def logits(self, features: Features) -> NDArray[np.float64]:
        """Returns the logits of float64 [n, features]; each row's depends on it alone, to the last bit."""
        if features.shape[1] != len(self.curves):
            raise ValueError(f"{features.shape[1]} features for {len(self.curves)} curves")
        total = np.empty(len(features))
        sum_curves(np.ascontiguousarray(features), *self._arrays, self.offset, total)
        return total

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        """Returns the sigmoid of the logits."""
        return sigmoid(self.logits(features))

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.int64], Features, Features]:
        """Where each curve's knots begin, the knots and the values of all curves."""
        starts = np.cumsum([0, *(len(curve.knots) for curve in self.curves)], dtype=np.int64)
        knots = np.array([knot for curve in self.curves for knot in curve.knots], np.float64)
        return starts, knots, np.array([value for curve in self.curves for value in curve.values], np.float64)

    @classmethod
    def parse(cls, content: dict[str, Any]) -> "AdditiveModel":
        """Reads what `dataclasses.asdict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no additive model.
        """
        curves = (
            Curve(each["feature"], tuple(map(float, each["knots"])), tuple(map(float, each["values"])))
            for each in content["curves"]
        )
        return cls(tuple(curves), float(content["offset"]))

    def scaled(self, slope: float, offset: float) -> "AdditiveModel":
        """Returns the model whose logit is slope · logit + offset."""
        curves = (Curve(c.feature, c.knots, tuple(slope * value for value in c.values)) for c in self.curves)
        return AdditiveModel(tuple(curves), slope * self.offset + offset)


def knots_of(column: NDArray[np.float64], quantiles: Sequence[float]) -> tuple[float, ...]:
    """Returns distinct quantiles of a feature, ascending."""
    return tuple(np.unique(np.quantile(column, quantiles)).tolist())


def ramps(column: NDArray[np.float64], knots: Sequence[float]) -> NDArray[np.float64]:
    """Returns the basis of a curve, float64 [n, knots − 1]: 0 up to one knot, rising to 1 at the next, 1 beyond."""
    at = np.asarray(knots)
    return np.asarray(np.clip((column[:, None] - at[:-1]) / np.diff(at), 0.0, 1.0), np.float64)
