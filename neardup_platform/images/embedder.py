"""The interface of every embedder of pictures, built in or a user's own.

Pixels → **vector** → topic of its kind. `ingest`, search by example and training see only this interface.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neardup_platform.images.decode import Pixels


class Embedder(Protocol):
    """Turns pictures into vectors of one kind and model version."""

    @property
    def kind(self) -> str:
        """`lsh` or `pair`."""

    @property
    def model_version(self) -> str:
        """The version of the model; changes whenever the same picture would get another vector."""

    @property
    def dim(self) -> int:
        """The length of a vector."""

    @property
    def enough_px(self) -> int:
        """The shorter side, in pixels, below which a picture should not be reduced before embedding."""

    @property
    def blocks(self) -> tuple[tuple[str, int, int, str], ...]:
        """Parts of the vector that are compared separately: name, start, stop, comparison.

        The comparisons are those of `neardup_platform.scoring.features`.
        """

    def embed(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embed pictures, uint8 [height, width, 3] each, as float32 [n, dim]."""
