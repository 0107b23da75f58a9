"""One picture at the sizes at which alignment compares it.

Sketch → **local contrast at full, half and ever smaller sizes** → alignment. Pictures are float32 [height, width].
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neardup_platform.structure.filter_kernels import local_contrast, resized
from neardup_platform.structure.search_kernels import pyramid

Grid = NDArray[np.float32]

# Cells of the largest size that is searched.
_SEARCH_CELLS = 400


class View:
    """One picture prepared for alignment; each size is computed when it is first needed.

    Attributes:
        FULL_SIGMA, HALF_SIGMA, SEARCH_SIGMA: width of the Gaussian that separates detail from ground, in cells, at
            each of these sizes.

    Args:
        grey: float32 [height, width], luma.
    """

    FULL_SIGMA, HALF_SIGMA, SEARCH_SIGMA = 3.0, 2.5, 1.5

    def __init__(self, grey: Grid) -> None:
        self.grey = grey

    @cached_property
    def detail(self) -> Grid:
        """Local contrast at full size."""
        detail: Grid = local_contrast(self.grey, self.FULL_SIGMA)
        return detail

    @cached_property
    def half_detail(self) -> Grid:
        """Local contrast at half size."""
        height, width = self.grey.shape
        detail: Grid = local_contrast(resized(self.grey, height // 2, width // 2), self.HALF_SIGMA)
        return detail

    @property
    def search_detail(self) -> Grid:
        """Local contrast at the largest size that is searched."""
        largest: Grid = self.levels[0][0]
        return largest

    @cached_property
    def levels(self) -> tuple[Grid, NDArray[np.int64]]:
        """Local contrast at the sizes that are searched; see `search_kernels.pyramid`."""
        scale = min(0.5, (_SEARCH_CELLS / self.grey.size) ** 0.5)
        height, width = (round(side * scale) for side in self.grey.shape)
        levels: tuple[Grid, NDArray[np.int64]] = pyramid(self.grey, height, width, self.SEARCH_SIGMA)
        return levels
