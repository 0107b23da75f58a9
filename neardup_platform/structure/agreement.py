"""How well two pictures agree once one is laid over the other.

Two sketches → alignment → **features** → `neardup compare`. Agreement is judged in overlapping blocks of 6×6 cells. It
tells an altered copy, where a few blocks differ because something was laid over them, from another picture on the same
template, where blocks full of detail are replaced by other detail.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.structure.affines import Affine, inverse
from neardup_platform.structure.alignment import Alignment, align
from neardup_platform.structure.block_kernels import judge_blocks
from neardup_platform.structure.filters import View
from neardup_platform.structure.sketch import COLOUR_GRID, Sketch

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

_LEAST_SIDE = 8


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
        if min(sketch.grey.shape) < _LEAST_SIDE:
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
    back = inverse(found.affine)
    judge_blocks(frame.view.grey, found.other, found.covered, frame.view.detail, over.view.detail, back, out)
    out[23:28] = _placement_features(found.affine)
    out[28:30] = _chroma_differences(frame, over, found.affine)
    differences = np.abs(a.colours - b.colours)
    out[30:32] = np.log1p(differences.mean()), np.log1p(differences.max())
    return out


def _placement_features(affine: Affine) -> NDArray[np.float64]:
    linear = affine[:, :2]
    left, stretch, right = np.linalg.svd(linear)
    turn, mirrored = left @ right, np.linalg.det(linear) < 0
    degrees = np.degrees(np.arctan2(turn[1, 0], -turn[0, 0] if mirrored else turn[0, 0]))
    off_axis = abs((degrees + 45) % 90 - 45)
    scale = abs(np.log(abs(np.linalg.det(linear)))) / 2
    return np.array([scale, off_axis, np.log(stretch[0] / stretch[1]), mirrored, abs(degrees) > 45])


def _chroma_differences(frame: Prepared, over: Prepared, affine: Affine) -> tuple[float, float]:
    """Mean and largest difference of the chromas of the frame's colour cells and what lies over their middles."""
    height, width = frame.view.grey.shape
    middles = (np.arange(COLOUR_GRID) + 0.5) / COLOUR_GRID
    x, y = np.meshgrid(middles * width - 0.5, middles * height - 0.5)
    to_x = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
    to_y = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
    column = np.floor((to_x + 0.5) / over.view.grey.shape[1] * COLOUR_GRID).astype(np.int64)
    row = np.floor((to_y + 0.5) / over.view.grey.shape[0] * COLOUR_GRID).astype(np.int64)
    inside = (column >= 0) & (row >= 0) & (column < COLOUR_GRID) & (row < COLOUR_GRID)
    if not inside.any():
        return 255.0, 255.0
    differences = np.abs(_chroma(frame.colours)[inside] - _chroma(over.colours[row[inside], column[inside]])).mean(-1)
    return float(differences.mean()), float(differences.max())


def _chroma(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    luma = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([colours[..., 2] - luma, colours[..., 0] - luma], axis=-1)
