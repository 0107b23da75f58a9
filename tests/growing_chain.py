"""A cluster that grows like a chain: every picture matches the one before it and agrees with the head, and no other.

With a match at a cosine of 0.9 and agreement at 0.8 (`CosineScorer`), the pictures stand on a ring 36° around the head,
30° apart along the ring: neighbours agree up to two places away. `hinge`, between head and ring, starts the cluster.
"""

import numpy as np

from neardup_platform.records import JoinedImage
from neardup_platform.testing import LSH_DIM, image

# The first that the guard holds apart, as the eighth image after the head, the hinge and six of the ring: the head and
# two neighbours agree with it.
FIRST_HELD_APART, AGREED, COMPARED = "ring 6", 3, 8


def on_ring(degrees: float, name: str, polar: float = 36.0, axis: int = 0) -> JoinedImage:
    """An image at an angle to the head, which lies on the axis, and at a place along the ring, in degrees."""
    height, place = np.deg2rad(polar), np.deg2rad(degrees)
    vector = np.zeros(LSH_DIM)
    vector[axis : axis + 3] = np.cos(height), np.sin(height) * np.cos(place), np.sin(height) * np.sin(place)
    return image(name, vector)


def growing_chain(pictures: int, axis: int = 0, prefix: str = "") -> list[JoinedImage]:
    """A head, a hinge and pictures along the ring; at most 11, before the ring closes.

    Args:
        axis: of the head; chains on axes that differ by 3 or more are unrelated.
        prefix: of their ids.
    """
    start = [
        on_ring(0, f"{prefix}head", polar=0, axis=axis),
        on_ring(0, f"{prefix}hinge", polar=18, axis=axis),
    ]
    return [*start, *(on_ring(30 * n, f"{prefix}ring {n}", axis=axis) for n in range(pictures))]
