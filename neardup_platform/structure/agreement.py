"""How well two pictures agree once one is laid over the other.

Two sketches → alignment → **features** → `neardup compare`. Agreement is judged in overlapping blocks of 6×6 cells. It
tells an altered copy, where a few blocks differ because something was laid over them, from another picture on the same
template, where blocks full of detail are replaced by other detail.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.structure.affines import inverse
from neardup_platform.structure.alignment import Alignment, align
from neardup_platform.structure.block_kernels import judge_blocks
from neardup_platform.structure.filters import View
from neardup_platform.structure.placement_kernels import judge_colours, judge_placement
from neardup_platform.structure.sketch import Sketch

NAMES = (
    "coarse_correlation", "fine_correlation",  # of local contrast, at half and full size
    "covered_more", "covered_less",  # share of each picture that the other covers
    "detail_less", "detail_more",  # share of each picture's detail in there
    "blocks", "textured",  # log of the blocks with texture, and their share
    "agreement_mean", "agreement_02", "agreement_05", "agreement_10", "agreement_25", "agreement_50",
    "differing", "contradicting",  # share of texture in blocks with agreement below 0.5 and 0.2
    "replaced", "added", "replaced_blocks",  # in blocks below 0.4: texture on both sides, on one; log of the former
    "brightness_correlation", "residual", "gain", "offset",  # of luma over the whole overlap
    "scale", "rotation", "shear", "mirrored", "turned",  # of the placement: logs, degrees, 0 or 1
    "chroma_mean", "chroma_most",  # differences of colour where the pictures lie over each other, levels
    "colour_mean", "colour_most",  # differences of red, green, blue with whole laid on whole, log of levels
    "ground_most",  # 95th percentile of the difference of brightness of blocks
    "texture_less", "texture_more",  # share of blocks with texture in each picture, where they overlap
)  # fmt: skip
COUNT = len(NAMES)

LEAST_SIDE = 8


class Prepared(NamedTuple):
    """A picture ready to be compared."""

    view: View
    colours: NDArray[np.float32]

    @classmethod
    def of(cls, sketch: Sketch) -> "Prepared":
        """Prepares a sketch.

        Raises:
            ValueError: it has fewer than 8 cells along a side.
        """
        if min(sketch.grey.shape) < LEAST_SIDE:
            raise ValueError(f"a sketch of {sketch.grey.shape} cells cannot be aligned: 8 along each side at least")
        return cls(View(sketch.grey), sketch.colours)


def compare(a: Prepared, b: Prepared, *, turned: bool = True) -> NDArray[np.float32]:
    """Aligns two pictures; returns the features, float32 [COUNT].

    Args:
        a, b: the pictures.
        turned: whether to try quarter turns, upside down and their mirror images too, if nothing agrees without.
    """
    return features(a, b, align(a.view, b.view, turned=turned))


def features(a: Prepared, b: Prepared, found: Alignment) -> NDArray[np.float32]:
    """Returns the features of an alignment of these two, float32 [COUNT], named by `NAMES`."""
    frame, over = (b, a) if found.swapped else (a, b)
    out = np.zeros(COUNT, np.float32)
    out[0], out[1] = found.coarse, found.fine
    affine, (grey, over_grey) = found.affine, (frame.view.grey, over.view.grey)
    judge_blocks(grey, found.other, found.covered, frame.view.detail, over.view.detail, inverse(affine), out)
    judge_placement(affine, out)
    judge_colours(frame.colours, grey.shape, over.colours, over_grey.shape, affine, out)
    return out
