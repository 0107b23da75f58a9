"""Lays one picture over another, however it is shifted, scaled, mirrored, turned or slightly rotated.

Two views → placements → refinement at half size → at full size → **alignment** → agreement. The whole on the whole is
tried first, because most copies are not cropped; then the placements that the search finds upright; then all others.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.structure.affines import Affine, after, determinant, inverse, is_plausible
from neardup_platform.structure.block_kernels import LEAST_CELLS
from neardup_platform.structure.filter_kernels import local_contrast
from neardup_platform.structure.filters import View
from neardup_platform.structure.layering_kernels import eroded, laid_over, refine_at_size
from neardup_platform.structure.refinement_kernels import correlation, refine
from neardup_platform.structure.search import OTHERS, UPRIGHT, find_placements, whole_on_whole

_SEARCH_STEPS, _HALF_STEPS, _FULL_STEPS = 6, 10, 5
# How many placements a search returns, how many of them are refined at half size, and at full size, and how often.
_PLACEMENTS, _REFINED, _FINALISTS, _ROUNDS = 4, 2, 2, 2
_GAIN = 0.005
_MOST_SAMPLES = 4
# Near the edge of the other picture, a frame around it would count as detail of the first.
_EDGE = 3
# Coarse correlation from which whole on whole is right, and significance below which other orientations are tried.
_CERTAIN, _DOUBTFUL = 0.8, 0.5


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
    """An alignment at a smaller size, from the first picture to the second; see `refine_at_size`."""

    affine: Affine
    coarse: float
    significance: float


class _Layer(NamedTuple):
    """One picture laid over another at full size.

    Attributes:
        affine, fine, other, covered: see `Alignment`.
        detail: local contrast of `other`.
        inner: bool, the cells that are compared.
    """

    affine: Affine
    fine: float
    other: NDArray[np.float32]
    covered: NDArray[np.bool_]
    detail: NDArray[np.float32]
    inner: NDArray[np.bool_]

    @property
    def significance(self) -> float:
        return self.fine * float(np.count_nonzero(self.covered) / self.covered.size) ** 0.5


def align(a: View, b: View, *, turned: bool = True) -> Alignment:
    """Lays one picture over the other, where they agree best for the share that they have in common.

    Args:
        a, b: the pictures.
        turned: whether to try quarter turns, upside down and their mirror images too, if nothing agrees without.
    """
    whole = _at_half_size(a, b, whole_on_whole(a, b))
    found = [whole if is_plausible(whole.affine) else _Rough(whole_on_whole(a, b), 0.0, 0.0)]
    if whole.coarse < _CERTAIN:
        found += _searched(a, b, UPRIGHT)
    if turned and max(each.significance for each in found) < _DOUBTFUL:
        found += _searched(a, b, OTHERS)
    best = sorted(found, key=lambda each: -each.significance)[:_FINALISTS]
    return max((_laid(a, b, each) for each in best), key=lambda each: each.fine * each.covered.mean() ** 0.5)


def _searched(a: View, b: View, orientations: Sequence[int]) -> list[_Rough]:
    """Refines the best placements from coarse to fine; leaves out what became implausible."""
    found = [
        _Rough(*refine_at_size(a.grey, a.search_detail, b.grey, b.search_detail, affine, _SEARCH_STEPS))
        for affine in find_placements(a, b, orientations, _PLACEMENTS)
    ]
    plausible = [each for each in found if is_plausible(each.affine)]
    best = sorted(plausible, key=lambda each: -each.significance)[:_REFINED]
    return [each for rough in best if is_plausible((each := _at_half_size(a, b, rough.affine)).affine)]


def _at_half_size(a: View, b: View, affine: Affine) -> _Rough:
    return _Rough(*refine_at_size(a.grey, a.half_detail, b.grey, b.half_detail, affine, _HALF_STEPS))


def _laid(a: View, b: View, rough: _Rough) -> Alignment:
    """Refines at full size: the picture with the smaller cells is averaged down to the other, so both lose the same."""
    affine, swapped = rough.affine, abs(determinant(rough.affine)) < 1
    if swapped:
        a, b, affine = b, a, inverse(affine)
    best = _layer(a, b, affine)
    for _ in range(_ROUNDS):
        rest = np.eye(2, 3)
        refine(a.detail, best.detail, best.inner, rest, _FULL_STEPS)
        refined = after(best.affine, rest)
        if not is_plausible(refined):
            break
        layer = _layer(a, b, refined)
        if layer.fine <= best.fine + _GAIN:
            break
        best = layer
    return Alignment(best.affine, swapped, rough.coarse, max(0.0, best.fine), best.other, best.covered)


def _layer(a: View, b: View, affine: Affine) -> _Layer:
    """Lays `b` over `a`."""
    samples = min(max(math.ceil(abs(determinant(affine)) ** 0.5 - 0.15), 1), _MOST_SAMPLES)
    other, covered = laid_over(b.grey, affine, *a.grey.shape, samples)
    detail, inner = local_contrast(other, View.FULL_SIGMA), eroded(covered, _EDGE)
    value, cells = correlation(a.detail, detail, inner, np.eye(2, 3))
    return _Layer(affine, value if cells >= LEAST_CELLS else 0.0, other, covered, detail, inner)
