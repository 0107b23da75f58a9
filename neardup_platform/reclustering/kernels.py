"""Compiled: where the members go that leave their clusters, one after another."""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def place_leavers(
    leavers: NDArray[np.int32],
    starts: NDArray[np.int64],
    matches: NDArray[np.int32],
    key: NDArray[np.int64],
    agrees: NDArray[np.bool_],
    home: NDArray[np.int32],
    placed: NDArray[np.int64],
) -> None:
    """Lets each join the cluster of its best match whose head agrees with it, or found one.

    Args:
        leavers: int32 [n], in the order of their decisions.
        starts: int64 [n, 2], the matches of each are `matches[start:stop]`.
        matches: int32, nodes, those of one image best first.
        key, agrees: as of `ComparedPairs`.
        home: int32 [M], the head of every node; −1 for those that have not been placed yet; receives them.
        placed: int64 [n], receives the pair of each with its new head; −1 for a founder.
    """
    for number, image in enumerate(leavers):
        home[image], placed[number] = image, -1
        for at in range(starts[number, 0], starts[number, 1]):
            to = home[matches[at]]
            if to < 0 or to == image:
                continue
            wanted = (np.int64(min(image, to)) << 32) | max(image, to)
            pair = np.searchsorted(key, wanted)
            if pair < len(key) and key[pair] == wanted and agrees[pair]:
                home[image], placed[number] = to, pair
                break
