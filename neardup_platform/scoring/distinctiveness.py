"""Which images are undistinctive: plain pictures, and those that many pictures resemble, such as nearly blank pages.

Vectors → **undistinctive or not** → thresholds (`threshold_table.py`), decision. Copies of such an image are hard to
tell from look-alikes, so it needs better evidence. The property depends on the image and the classifier alone.
"""

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.vectors import Float16
from neardup_platform.structure.block_kernels import textured_blocks
from neardup_platform.structure.sketch import HEAD, decode_sketch, have_sketches


def plain_pictures(sketches: Float16) -> NDArray[np.bool_]:
    """Returns which pictures have no texture anywhere, bool [n]; one without a sketch is not known to be plain.

    Args:
        sketches: float16 [n, sketch.ENTRIES].
    """
    plain = have_sketches(sketches[:, :HEAD])
    for row in np.flatnonzero(plain):
        plain[row] = textured_blocks(decode_sketch(sketches[row]).grey) == 0
    return plain


def undistinctive(crowding: NDArray[np.float32], plain: NDArray[np.bool_], level: float | None) -> NDArray[np.bool_]:
    """Returns which images are undistinctive, bool [n].

    Args:
        crowding: float32 [n], mean cosine to the nearest members of the reference; see `Reference.nearest`.
        plain: bool [n].
        level: from which crowding on; None for plain pictures alone.
    """
    return plain if level is None else plain | (crowding >= np.float32(level))
