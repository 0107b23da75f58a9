"""Where one picture may lie in another: shift, scale and mirroring, found by correlating them at a coarse size.

Two views → **placements, best first** → refinement. By the correlation theorem: for each scale and orientation, one
product of spectra gives the agreement at every shift, normalised by the contrast of both pictures where they overlap.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from neardup_platform.structure.filters import View
from neardup_platform.structure.kernels import best_shift, sums_of_squares

Affine = NDArray[np.float64]
Grid = NDArray[np.float32]

# Of the second picture relative to the first, in cells of sketches, which cover equal numbers of cells: a picture and
# its central quarter differ by 2.
SCALES = tuple(2.0 ** (step / 5) for step in range(-6, 7))
# Of eight orientations: bit 0 mirrors left to right, bit 1 upside down, bit 2 exchanges rows and columns, last.
UPRIGHT, OTHERS = (0, 1), (2, 3, 4, 5, 6, 7)
EXCHANGED = 4
_LEAST_SIDE = 4
# Overlaps smaller than this share of the smaller picture prove nothing.
_LEAST_OVERLAP = 0.3


class Placement(NamedTuple):
    """A hypothesis.

    Attributes:
        significance: normalised correlation times the square root of the overlap in units of 1,024 cells.
        affine: float64 [2, 3], from (x, y, 1) of the first picture, in cells of its full size, to the second.
    """

    significance: float
    affine: Affine


def whole_on_whole(a: View, b: View) -> Placement:
    """Returns the placement of two copies of which neither is cropped."""
    (height, width), (other_height, other_width) = a.grey.shape, b.grey.shape
    return Placement(0.0, _scaling(other_width / width, other_height / height)[:2])


def find_placements(a: View, b: View, orientations: Sequence[int], most: int) -> list[Placement]:
    """Searches all scales; returns the best placements, best first, at most `most`.

    Args:
        a, b: with about equal numbers of cells.
        orientations: in which `b` is tried.
    """
    found: list[_Shift] = []
    for scale in SCALES:
        # The larger one is shrunk, so that no search is finer than the coarse size.
        small_a, small_b = a.coarse(min(1.0, 1 / scale)), b.coarse(min(1.0, scale))
        if min(*small_a.shape, *small_b.shape) >= _LEAST_SIDE:
            for exchanged in (False, True):
                alike = [each for each in orientations if bool(each & EXCHANGED) is exchanged]
                found += _shifts(small_a, small_b, scale, alike)
    best = sorted(found, key=lambda shift: -shift.significance)[:most]
    return [Placement(shift.significance, _affine(a, b, shift)) for shift in best]


class _Shift(NamedTuple):
    """The best shift at one scale and orientation, in cells of the shrunk pictures."""

    significance: float
    scale: float
    orientation: int
    down: int
    right: int


def _shifts(small_a: Grid, small_b: Grid, scale: float, orientations: Sequence[int]) -> list[_Shift]:
    """Searches orientations in which `b` has one shape."""
    if not orientations:
        return []
    turned = np.stack([oriented(small_b, orientation) for orientation in orientations])
    height, width = (
        int(fft.next_fast_len(one + other - 1, True))
        for one, other in zip(small_a.shape, turned.shape[1:], strict=True)
    )
    spectrum = fft.rfft2(small_a, (height, width))
    products = fft.irfft2(spectrum * np.conj(fft.rfft2(turned, (height, width))), (height, width))
    squares_a = sums_of_squares(small_a)
    return [
        _Shift(significance, scale, orientation, down, right)
        for orientation, product, other in zip(orientations, products, turned, strict=True)
        for significance, down, right in [best_shift(product, squares_a, sums_of_squares(other), _LEAST_OVERLAP)]
    ]


def _affine(a: View, b: View, shift: _Shift) -> Affine:
    """The placement in cells of the full pictures."""
    small_a, small_b = a.coarse(min(1.0, 1 / shift.scale)), b.coarse(min(1.0, shift.scale))
    moved = np.array([[1, 0, -shift.right], [0, 1, -shift.down], [0, 0, 1.0]])
    undone = _undo_orientation(shift.orientation, small_b.shape)
    up_b = np.linalg.inv(_downsampling(b.grey, small_b))
    return np.ascontiguousarray((up_b @ undone @ moved @ _downsampling(a.grey, small_a))[:2])


def oriented(grid: Grid, orientation: int) -> Grid:
    """Returns a picture in one of its eight orientations, as a view."""
    grid = grid.T if orientation & EXCHANGED else grid
    grid = grid[::-1] if orientation & 2 else grid
    return grid[:, ::-1] if orientation & 1 else grid


def _scaling(across: float, down: float) -> NDArray[np.float64]:
    """The transform between sizes of one picture; coordinates are those of the middles of cells."""
    return np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5], [0, 0, 1.0]])


def _downsampling(full: Grid, small: Grid) -> NDArray[np.float64]:
    return _scaling(small.shape[1] / full.shape[1], small.shape[0] / full.shape[0])


def _undo_orientation(orientation: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The transform from an oriented picture to the picture of this shape."""
    height, width = shape[::-1] if orientation & 4 else shape
    undone = np.eye(3)
    if orientation & 1:
        undone = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1.0]]) @ undone
    if orientation & 2:
        undone = np.array([[1, 0, 0], [0, -1, height - 1], [0, 0, 1.0]]) @ undone
    if orientation & 4:
        undone = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]]) @ undone
    return undone
