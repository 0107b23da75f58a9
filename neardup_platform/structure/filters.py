"""Filters of small grey pictures: resizing, and the local contrast that alignment compares.

Sketch → **pyramid of local contrast** → alignment. Pictures are float32 [height, width].
"""

from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from neardup_platform.structure.kernels import blurred, resized

Grid = NDArray[np.float32]

# Grey levels of contrast below which a difference counts as noise.
NOISE = np.float32(6.0)
_CONTRAST_WIDTH = 1.5


class View:
    """One picture prepared for alignment; each size is computed when it is first needed.

    Attributes:
        FULL_SIGMA, COARSE_SIGMA: width of the Gaussian that separates detail from ground, in cells: at full size, and
            at half and coarser sizes.

    Args:
        grey: float32 [height, width], luma.
    """

    FULL_SIGMA, COARSE_SIGMA = 3.0, 2.5

    def __init__(self, grey: Grid) -> None:
        self.grey = grey
        self._shrunk: dict[float, Grid] = {}

    @cached_property
    def detail(self) -> Grid:
        """Local contrast at full size."""
        return local_contrast(self.grey, self.FULL_SIGMA)

    @cached_property
    def half_grey(self) -> Grid:
        """The picture at half its size."""
        height, width = (max(2, side // 2) for side in self.grey.shape)
        half: Grid = resized(self.grey, height, width)
        return half

    def coarse(self, scale: float) -> Grid:
        """Local contrast at half size times `scale`, 0…1."""
        if scale not in self._shrunk:
            half = self.half_grey
            height, width = (max(3, round(side * scale)) for side in half.shape)
            small = half if scale == 1.0 else resized(half, height, width)
            self._shrunk[scale] = local_contrast(small, self.COARSE_SIGMA)
        return self._shrunk[scale]


def local_contrast(grey: Grid, sigma: float) -> Grid:
    """Divides the difference from the blurred picture by its local spread: what remains under any light.

    Args:
        grey: luma.
        sigma: of the blur, cells.

    Returns:
        About −2…2; near 0 where the picture is plain.
    """
    detail = grey - blurred(grey, _gaussian(sigma))
    spread = blurred(detail * detail, _gaussian(_CONTRAST_WIDTH * sigma))
    return np.asarray(detail / (np.sqrt(spread) + NOISE), np.float32)


@cache
def _gaussian(sigma: float) -> NDArray[np.float32]:
    reach = np.arange(-int(3 * sigma + 0.5), int(3 * sigma + 0.5) + 1)
    weights = np.exp(-0.5 * (reach / sigma) ** 2)
    return np.asarray(weights / weights.sum(), np.float32)
