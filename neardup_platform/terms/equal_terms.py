"""Equal terms of images with their candidates, from the vectors of both: where decisions and answers record them.

Vectors → **signatures of the few candidates that matter** → overlaps. A search has 150 candidates, of which a handful
get a score worth recording; so the index need not hold the signatures of all images (docs/adr/0057).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import Signatures, TermSpace

Ordinals = NDArray[np.int64]


class EqualTerms:
    """Counts equal terms; any number of threads may ask.

    Args:
        space: of the terms.
        signatures: uint64 [n, words], of the images that were searched for.
        vectors_of: returns the `lsh` vectors of candidates, float32 [m, dim].
        likely: int64 [m], candidates that will be asked for, which are hashed at once.
    """

    def __init__(
        self,
        space: TermSpace,
        signatures: Signatures,
        vectors_of: Callable[[Ordinals], NDArray[np.float32]],
        likely: Ordinals,
    ) -> None:
        self._space, self._own, self._vectors_of = space, signatures, vectors_of
        self._known = np.unique(likely)
        self._signatures = self._hash(self._known)

    @property
    def tables(self) -> int:
        """Terms of an image."""
        return self._space.tables

    def of(self, row: int, ordinals: Ordinals) -> NDArray[np.uint8]:
        """Returns how many terms of an image are equal to those of candidates, uint8 [m].

        Args:
            row: of the image.
            ordinals: int64 [m], of the candidates.
        """
        return self._space.overlap(self._own[row], self._of(ordinals)).astype(np.uint8)

    def _of(self, ordinals: Ordinals) -> Signatures:
        places = np.searchsorted(self._known, ordinals)
        if len(self._known) and (self._known[np.minimum(places, len(self._known) - 1)] == ordinals).all():
            return self._signatures[places]
        return self._hash(ordinals)

    def _hash(self, ordinals: Ordinals) -> Signatures:
        if not len(ordinals):
            return np.zeros((0, self._space.words), np.uint64)
        return self._space.sign(self._space.centre(self._vectors_of(ordinals)))


class NoTerms:
    """Of images that were not searched for, which have no candidates."""

    tables = 1

    def of(self, _row: int, ordinals: Ordinals) -> NDArray[np.uint8]:
        """Returns zeros, uint8 [m]."""
        return np.zeros(len(ordinals), np.uint8)
