"""Whether each image of a term index is searched: live, retired because its cluster has enough others, or deleted."""

import numpy as np
from numpy.typing import NDArray

from neardup_platform.id_space import MAX_ORDINALS
from neardup_platform.terms.parts import DELETED, LIVE, RETIRED

Ordinals = NDArray[np.int64]
States = NDArray[np.uint8]


class ImageStates:
    """States by ordinal; one thread changes them while others read `all`.

    Args:
        room: images it has room for at first.
    """

    def __init__(self, room: int) -> None:
        self._states = np.zeros(room, np.uint8)

    @property
    def all(self) -> States:
        """States of all images, uint8, and of ordinals that are not given yet."""
        return self._states

    def grow(self, images: int) -> None:
        """Makes room for `images` images."""
        if images > len(self._states):
            # Spare room takes no memory until it is written, and makes copies rare.
            room = max(images + images // 2, 2 * len(self._states))
            grown = np.zeros(min(room, MAX_ORDINALS), np.uint8)
            grown[: len(self._states)] = self._states
            self._states = grown

    def reset(self, deleted: Ordinals) -> None:
        """Makes all images live but these."""
        # Unlike `zeros_like`, which writes every byte, this takes no memory for spare room.
        self._states = np.zeros(len(self._states), np.uint8)
        self._states[deleted] = DELETED

    def restore(self, retired: Ordinals) -> None:
        """Marks images retired, whatever they were."""
        self._states[retired] = RETIRED

    def retire(self, ordinals: Ordinals) -> None:
        """Marks those of these images retired that are live."""
        live = ordinals[self._states[ordinals] == LIVE]
        self._states[live] = RETIRED

    def delete(self, ordinals: Ordinals) -> Ordinals:
        """Marks images deleted; returns those that were not, int64 ascending."""
        known = np.unique(ordinals)
        fresh: Ordinals = known[self._states[known] != DELETED]
        self._states[fresh] = DELETED
        return fresh

    def live(self, ordinals: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Returns which of these images are live, bool [n]."""
        live: NDArray[np.bool_] = self._states[ordinals] == LIVE
        return live
