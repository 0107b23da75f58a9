"""Where one picture may lie in another: shift, scale and orientation, found by comparing them at a coarse size.

Two views → **placements, best first** → refinement. For each scale and orientation, the correlation at every shift is
normalised by the contrast of both pictures where they overlap.
"""

from collections.abc import Sequence

import numpy as np

from neardup_platform.structure.affines import Affine, after, between_sizes, scaling
from neardup_platform.structure.filters import View
from neardup_platform.structure.search_kernels import EXCHANGED, MIRRORED, UPSIDE_DOWN, search

# Of eight orientations, those that most copies have, and the rest.
UPRIGHT, OTHERS = (0, MIRRORED), (2, 3, 4, 5, 6, 7)


def whole_on_whole(a: View, b: View) -> Affine:
    """Returns the placement of two copies of which neither is cropped: float64 [2, 3], from cells of `a` to `b`."""
    return between_sizes(*a.grey.shape, *b.grey.shape)


def find_placements(a: View, b: View, orientations: Sequence[int], most: int) -> list[Affine]:
    """Searches all scales.

    Args:
        a, b: with about equal numbers of cells.
        orientations: in which `b` is tried, bits of `MIRRORED`, `UPSIDE_DOWN` and `EXCHANGED`.
        most: how many placements to return.

    Returns:
        The best ones, best first, as affines from cells of `a` to `b`.
    """
    found = search(*a.levels, *b.levels, np.array(orientations))
    best = found[np.argsort(-found[:, 0], kind="stable")[:most]]
    return [_affine(a, b, *(int(entry) for entry in shift[1:])) for shift in best]


def _affine(a: View, b: View, level_a: int, level_b: int, orientation: int, down: int, right: int) -> Affine:
    """The placement in cells of the full pictures."""
    size_a, size_b = a.levels[1][level_a], b.levels[1][level_b]
    shifted = after(np.array([[1.0, 0, -right], [0, 1.0, -down]]), between_sizes(*a.grey.shape, *size_a))
    return after(between_sizes(*size_b, *b.grey.shape), after(undo_orientation(orientation, *size_b), shifted))


def undo_orientation(orientation: int, height: int, width: int) -> Affine:
    """Returns the transform from the turned picture to the picture of this size."""
    height, width = (width, height) if orientation & EXCHANGED else (height, width)
    undone = scaling(1.0, 1.0)
    if orientation & MIRRORED:
        undone = np.array([[-1.0, 0, width - 1], [0, 1.0, 0]])
    if orientation & UPSIDE_DOWN:
        undone = after(np.array([[1.0, 0, 0], [0, -1.0, height - 1]]), undone)
    if orientation & EXCHANGED:
        undone = after(np.array([[0, 1.0, 0], [1.0, 0, 0]]), undone)
    return undone
