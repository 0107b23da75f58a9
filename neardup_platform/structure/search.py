"""Where one picture may lie in another: shift, scale and orientation, found by comparing them at a coarse size.

Two views → **placements, best first** → refinement. For each scale and orientation, the correlation at every shift is
normalised by the contrast of both pictures where they overlap.
"""

from collections.abc import Sequence

import numpy as np

from neardup_platform.structure.affines import Affine, between_sizes
from neardup_platform.structure.filters import View
from neardup_platform.structure.search_kernels import placement, search
from neardup_platform.structure.shift_kernels import MIRRORED

# Of eight orientations, those that most copies have, and the rest.
UPRIGHT, OTHERS = (0, MIRRORED), (2, 3, 4, 5, 6, 7)


def whole_on_whole(a: View, b: View) -> Affine:
    """Returns the placement of two copies of which neither is cropped: float64 [2, 3], from cells of `a` to `b`."""
    whole: Affine = between_sizes(*a.grey.shape, *b.grey.shape)
    return whole


def find_placements(a: View, b: View, orientations: Sequence[int], most: int) -> list[Affine]:
    """Searches all scales.

    Args:
        a, b: with about equal numbers of cells.
        orientations: in which `b` is tried, bits of `MIRRORED`, `UPSIDE_DOWN` and `EXCHANGED`.
        most: how many placements to return.

    Returns:
        The best ones, best first, as affines from cells of `a` to `b`.
    """
    (levels_a, sizes_a), (levels_b, sizes_b) = a.levels, b.levels
    found = search(levels_a, sizes_a, levels_b, sizes_b, np.array(orientations))
    best = found[np.argsort(-found[:, 0], kind="stable")[:most]]
    return [placement(shift, sizes_a, a.grey.shape, sizes_b, b.grey.shape) for shift in best]
