"""Traffic as a platform gets it over a day: more by day than by night, few pictures with very many copies, faults.

A picture is new, or a copy of an earlier one. Copies of pictures of the last minutes are the most likely, and a picture
with many copies gets the next one sooner (Simon, *On a class of skew distribution functions*, 1955), so that cluster
sizes have a long tail. Vectors are Gaussian with a decaying spectrum around a common mean. Everything follows from a
seed.
"""

from math import cos, pi

import numpy as np
from numpy.typing import NDArray

from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec

DIM, PAIR_DIM = 64, 4
TRAFFIC_MODELS = {Kind.LSH: ModelSpec("traffic", DIM), Kind.PAIR: ModelSpec("traffic", PAIR_DIM)}

_NEW = 0.45
_OF_RECENT = 0.6
_RECENT = 500
# Of a copy, per dimension, against 1 for a picture: copies have a cosine of about 0.95.
_NOISE = 0.22
_MEAN = 0.3
_SPECTRUM = np.arange(1, DIM + 1) ** -0.25

Vector = NDArray[np.float32]


def day_curve(hour: float) -> float:
    """Traffic at an hour of the day, 0 to 24, as a share of the most: 0.1 at 4 in the morning, 1 at 16."""
    return 0.55 + 0.45 * cos(2 * pi * (hour - 16) / 24)


class Traffic:
    """A stream of pictures.

    Args:
        seed: of all of them.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._mean = _MEAN * self._rng.standard_normal(DIM)
        self._shift = self._rng.standard_normal(DIM)
        self._families: list[Vector] = []
        self._of: list[int] = []
        self._spam: Vector | None = None

    def pictures(self, count: int, *, spam: int = 0, shift: float = 0.0) -> list[tuple[str, Vector]]:
        """The next pictures: ids, and `lsh` vectors, float32 [DIM].

        Args:
            count: pictures as they usually are.
            spam: copies of one picture, always the same, shuffled among them.
            shift: how far another model under the same version moves each vector.
        """
        found = [self._next() for _ in range(count)] + [self._next_spam() for _ in range(spam)]
        order = self._rng.permutation(len(found))
        return [(found[n][0], (found[n][1] + shift * self._shift).astype(np.float32)) for n in order]

    def _next(self) -> tuple[str, Vector]:
        rng, seen = self._rng, len(self._of)
        if not seen or rng.random() < _NEW:
            family = len(self._families)
            self._families.append(self._drawn())
        else:
            first = max(0, seen - _RECENT) if rng.random() < _OF_RECENT else 0
            family = self._of[int(rng.integers(first, seen))]
        self._of.append(family)
        return f"picture-{seen:07d}", self._copy(self._families[family])

    def _next_spam(self) -> tuple[str, Vector]:
        if self._spam is None:
            self._spam = self._drawn()
        return f"spam-{self._rng.integers(1 << 62):016x}", self._copy(self._spam)

    def _drawn(self) -> Vector:
        return np.asarray(self._mean + _SPECTRUM * self._rng.standard_normal(DIM), np.float32)

    def _copy(self, picture: Vector) -> Vector:
        return np.asarray(picture + _NOISE * _SPECTRUM * self._rng.standard_normal(DIM), np.float32)


def joined(image_id: str, vector: Vector, at_ms: int) -> JoinedImage:
    """A picture with both embeddings, of `TRAFFIC_MODELS`; all have the same `pair` vector."""
    lsh, pair = (TRAFFIC_MODELS[kind].version for kind in (Kind.LSH, Kind.PAIR))
    return JoinedImage(
        Embedding(image_id, Kind.LSH, lsh, vector, at_ms),
        Embedding(image_id, Kind.PAIR, pair, np.ones(PAIR_DIM, np.float32), at_ms),
    )
