"""Lays one picture over another, however it is shifted, scaled, mirrored, turned or slightly rotated.

Two views → placements → refinement at half size → at full size → **alignment** → agreement. The whole on the whole is
tried first, because most copies are not cropped; then the placements that the search finds upright; then all others.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from neardup_platform.structure.block_kernels import LEAST_CELLS
from neardup_platform.structure.filters import View, local_contrast
from neardup_platform.structure.kernels import correlation, laid_over, refine
from neardup_platform.structure.search import OTHERS, UPRIGHT, Affine, find_placements, whole_on_whole

_COARSE_STEPS, _FINE_STEPS, _PLACEMENTS, _FINALISTS, _ROUNDS = 10, 5, 4, 2, 3
# Coarse correlation from which whole on whole is right, and significance below which other orientations are tried.
_CERTAIN, _DOUBTFUL = 0.8, 0.5
_EDGE = 3


class Alignment(NamedTuple):
    """How one picture lies over the other, the frame.

    Attributes:
        affine: float64 [2, 3], from (x, y, 1) of the frame, in cells of its sketch, to the other picture.
        swapped: whether the frame is the second picture.
        coarse, fine: correlation of local contrast at half and full size.
        other: luma of the other picture, laid over the frame.
        covered: bool, where it lies.
    """

    affine: Affine
    swapped: bool
    coarse: float
    fine: float
    other: NDArray[np.float32]
    covered: NDArray[np.bool_]


class _Rough(NamedTuple):
    """An alignment at half size, from the first picture to the second.

    Attributes:
        significance: correlation times the square root of the share of the first picture that is covered: chance
            agrees well only over little.
    """

    affine: Affine
    coarse: float
    significance: float


def align(a: View, b: View) -> Alignment:
    """Lays one picture over the other, where they agree best for the share that they have in common."""
    found = _refined(a, b, [whole_on_whole(a, b).affine])
    if found[0].coarse < _CERTAIN:
        found += _refined(a, b, [each.affine for each in find_placements(a, b, UPRIGHT, _PLACEMENTS)])
    if max(each.significance for each in found) < _DOUBTFUL:
        found += _refined(a, b, [each.affine for each in find_placements(a, b, OTHERS, _PLACEMENTS)])
    best = sorted(found, key=lambda each: -each.significance)[:_FINALISTS]
    return max((_laid(a, b, each) for each in best), key=lambda each: each.fine * each.covered.mean() ** 0.5)


def _refined(a: View, b: View, affines: list[Affine]) -> list[_Rough]:
    """Refines at half size; leaves out what became implausible, unless nothing else is left."""
    small_a, small_b = a.coarse(1.0), b.coarse(1.0)
    down_a, down_b = _halving(a), _halving(b)
    everything = np.ones(small_a.shape, np.bool_)
    found = []
    for affine in affines:
        small = np.ascontiguousarray((down_b @ _square(affine) @ np.linalg.inv(down_a))[:2])
        refine(small_a, small_b, everything, small, _COARSE_STEPS)
        value, cells = correlation(small_a, small_b, everything, small)
        full = np.ascontiguousarray((np.linalg.inv(down_b) @ _square(small) @ down_a)[:2])
        if _is_plausible(full):
            found.append(_Rough(full, value, value * (cells / small_a.size) ** 0.5))
    return found or [_Rough(whole_on_whole(a, b).affine, 0.0, 0.0)]


def _laid(a: View, b: View, rough: _Rough) -> Alignment:
    """Refines at full size: the picture with the smaller cells is averaged down to the other, so both lose the same."""
    affine, swapped = rough.affine, bool(abs(np.linalg.det(rough.affine[:, :2])) < 1)
    if swapped:
        a, b, affine = b, a, inverse(affine)
    fine = -1.0
    for _ in range(_ROUNDS):
        samples = int(np.clip(np.ceil(abs(np.linalg.det(affine[:, :2])) ** 0.5 - 0.15), 1, 4))
        other, covered = laid_over(b.grey, affine, *a.grey.shape, samples)
        detail, rest = local_contrast(other, View.FULL_SIGMA), np.eye(2, 3)
        # Near the edge of the other picture, a frame around it would count as detail of the first.
        inner = binary_erosion(covered, iterations=_EDGE, border_value=1)
        value, cells = correlation(a.detail, detail, inner, rest)
        if cells < LEAST_CELLS or value <= fine:
            break
        fine, best = value, Alignment(affine, swapped, rough.coarse, value, other, covered)
        refine(a.detail, detail, inner, rest, _FINE_STEPS)
        affine = np.ascontiguousarray((_square(affine) @ _square(rest))[:2])
        if not _is_plausible(affine):
            break
    if fine < 0:
        return Alignment(affine, swapped, rough.coarse, 0.0, other, covered)
    return best


def _is_plausible(affine: Affine) -> bool:
    return bool(np.isfinite(affine).all() and 0.08 < abs(np.linalg.det(affine[:, :2])) < 12.5)


def _halving(view: View) -> NDArray[np.float64]:
    across, down = (view.half_grey.shape[axis] / view.grey.shape[axis] for axis in (1, 0))
    return np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5], [0, 0, 1.0]])


def _square(affine: Affine) -> NDArray[np.float64]:
    return np.vstack([affine, [0.0, 0.0, 1.0]])


def inverse(affine: Affine) -> Affine:
    """Returns the affine back."""
    return np.ascontiguousarray(np.linalg.inv(_square(affine))[:2])
