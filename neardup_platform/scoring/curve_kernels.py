"""The compiled loop of an additive model (numba): a sum of curves that are linear between knots.

Features → **logits** → second look. Few pairs are looked at, at a time, so calling `numpy.interp` once for each curve
took most of a look: 0.3 ms for one pair or for 64.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_U = np.uint64


@njit(nogil=True, cache=True)
def sum_curves(features: F64, starts: I64, knots: F64, values: F64, offset: float, out: F64) -> None:
    """Adds the curves of each row in their order, so that a row's sum does not depend on the others.

    Args:
        features: float64 [n, curves]; NaN makes a sum NaN.
        starts: int64 [curves + 1], where the knots of each curve begin, and the end of the last.
        knots, values: float64 [knots of all curves]; a curve is constant beyond its first and its last knot.
        offset: where the sums begin.
        out: float64 [n], receives the sums.
    """
    for row in range(_U(features.shape[0])):
        total = offset
        for curve in range(_U(features.shape[1])):
            total += _curve(features[row, curve], _U(starts[curve]), _U(starts[curve + _U(1)]) - _U(1), knots, values)
        out[row] = total


@njit(nogil=True, cache=True, forceinline=True)
def _curve(x: float, low: np.uint64, last: np.uint64, knots: F64, values: F64) -> float:
    """Returns a curve's value at x, by the formula of `numpy.interp`."""
    if np.isnan(x):
        return x
    if x >= knots[last]:
        return float(values[last])
    if x <= knots[low]:
        return float(values[low])
    high = last
    while high - low > _U(1):
        middle = (low + high) >> _U(1)
        if knots[middle] <= x:
            low = middle
        else:
            high = middle
    slope = (values[high] - values[low]) / (knots[high] - knots[low])
    return float(slope * (x - knots[low]) + values[low])
