"""What every embedder of pictures offers, built in or a user's own.

Pixels → **vector** → topic of its kind. `ingest`, search by example and training see this interface only.
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
        """Changes whenever the same picture would get another vector."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def enough_px(self) -> int:
        """Shorter side below which a picture should not be reduced before it is embedded."""

    @property
    def blocks(self) -> tuple[tuple[str, int, int, str], ...]:
        """Parts of the vector that are compared on their own: name, start, stop, comparison.

        The comparisons are those of `neardup_platform.scoring.features`.
        """

    def embed(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embeds pictures, uint8 [height, width, 3] each, as float32 [n, dim]."""
