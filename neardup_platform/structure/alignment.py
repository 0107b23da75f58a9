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

_SEARCH_STEPS, _HALF_STEPS, _FULL_STEPS = 6, 10, 7
# How many placements a search returns, and how many go on to half size and to full size.
_PLACEMENTS, _REFINED, _FINALISTS = 4, 2, 3
_MOST_SAMPLES = 4
# Near the edge of the other picture, a frame around it would count as detail of the first.
_EDGE = 3
# Coarse correlation from which whole on whole is right, significance below which other orientations are tried, and
# below which nothing agrees, so that one alignment is as good as another.
_CERTAIN, _DOUBTFUL, _HOPELESS = 0.8, 0.5, 0.3

Grid = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Alignment(NamedTuple):
    """How one picture lies over the other, the frame.

    Attributes:
        affine: float64 [2, 3], from (x, y, 1) of the frame, in cells of its sketch, to the other picture.
        swapped: whether the frame is the second picture.
        coarse, fine: correlation of local contrast at half and full size.
        other: luma of the other picture, laid over the frame.
        detail: its local contrast there.
        covered: bool, where it lies.
        compared: bool, where details are compared: not near its edges.
    """

    affine: Affine
    swapped: bool
    coarse: float
    fine: float
    other: Grid
    detail: Grid
    covered: Mask
    compared: Mask

    @property
    def significance(self) -> float:
        """The fine correlation times the square root of the share of the frame that is covered."""
        return self.fine * math.sqrt(np.count_nonzero(self.covered) / self.covered.size)


class _Rough(NamedTuple):
    """An alignment at a smaller size, from the first picture to the second; see `refine_at_size`."""

    affine: Affine
    coarse: float
    significance: float


def align(a: View, b: View, *, turned: bool = True) -> Alignment:
    """Lays one picture over the other, where they agree best for the share that they have in common.

    Args:
        a, b: the pictures.
        turned: whether to try quarter turns, upside down and their mirror images too, if nothing agrees without.
    """
    whole = _Rough(whole_on_whole(a, b), 0.0, 0.0)
    found = _at_half_size(a, b, [whole]) or [whole]
    if found[0].coarse < _CERTAIN:
        found += _searched(a, b, UPRIGHT)
    if turned and max(each.significance for each in found) < _DOUBTFUL:
        found += _searched(a, b, OTHERS)
    best = _best(found, _FINALISTS)
    laid = [_laid(a, b, each) for each in (best if best[0].significance > _HOPELESS else best[:1])]
    return _refined(a, b, max(laid, key=lambda each: each.significance))


def _searched(a: View, b: View, orientations: Sequence[int]) -> list[_Rough]:
    """Refines the best placements from coarse to fine; leaves out what became implausible."""
    found = [
        _Rough(*refine_at_size(a.grey, a.search_detail, b.grey, b.search_detail, affine, _SEARCH_STEPS))
        for affine in find_placements(a, b, orientations, _PLACEMENTS)
    ]
    return _at_half_size(a, b, _best([each for each in found if is_plausible(each.affine)], _REFINED))


def _at_half_size(a: View, b: View, found: list[_Rough]) -> list[_Rough]:
    """Refines at half size; leaves out what became implausible."""
    refined = [
        _Rough(*refine_at_size(a.grey, a.half_detail, b.grey, b.half_detail, each.affine, _HALF_STEPS))
        for each in found
    ]
    return [each for each in refined if is_plausible(each.affine)]


def _best(found: list[_Rough], most: int) -> list[_Rough]:
    return sorted(found, key=lambda each: -each.significance)[:most]


def _laid(a: View, b: View, rough: _Rough) -> Alignment:
    """Lays the picture with the smaller cells over the other, averaged down to it: so both lose the same."""
    if abs(determinant(rough.affine)) < 1:
        return _layer(b, a, inverse(rough.affine), True, rough.coarse)
    return _layer(a, b, rough.affine, False, rough.coarse)


def _refined(a: View, b: View, found: Alignment) -> Alignment:
    """Refines at full size, if that is better."""
    frame, over = (b, a) if found.swapped else (a, b)
    rest = np.eye(2, 3)
    refine(frame.detail, found.detail, found.compared, rest, _FULL_STEPS)
    affine = after(found.affine, rest)
    if not is_plausible(affine):
        return found
    refined = _layer(frame, over, affine, found.swapped, found.coarse)
    return refined if refined.fine > found.fine else found


def _layer(frame: View, over: View, affine: Affine, swapped: bool, coarse: float) -> Alignment:
    samples = min(max(math.ceil(abs(determinant(affine)) ** 0.5 - 0.15), 1), _MOST_SAMPLES)
    other, covered = laid_over(over.grey, affine, *frame.grey.shape, samples)
    detail, compared = local_contrast(other, View.FULL_SIGMA), eroded(covered, _EDGE)
    value, cells = correlation(frame.detail, detail, compared, np.eye(2, 3))
    fine = max(0.0, value) if cells >= LEAST_CELLS else 0.0
    return Alignment(affine, swapped, coarse, fine, other, detail, covered, compared)
