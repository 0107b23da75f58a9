"""What the compiled loops work on: parts of the index, queries, and shortlists, as plain arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

# Words of a signature that all images are compared by. With 256 bits a shortlist of 1,024 loses as few true
# neighbours at ten million images as one of 16,000 with 128 bits does (docs/adr/0007).
HEAD_WORDS = 4
# In place of the key of an image that is not wanted after all.
NOTHING = ~np.uint64(0)
# States of an image.
LIVE, RETIRED, DELETED = 0, 1, 2
# Turns of a cell.
EARLY, LATE = 1, 2
# Images whose distances are computed in one vectorised run before any is looked at.
GROUP = 64


class Part(NamedTuple):
    """Images of the index, sorted by cell and within it by ordinal.

    Attributes:
        head: uint64 [HEAD_WORDS, n], the first words of the signatures.
        signatures: uint64 [n, words], all of them.
        ordinals: uint32 [n].
        starts: int64 [cells + 1], where each cell begins.
        hides: whether retired or deleted images are among them, so that states must be looked up.
    """

    head: U64
    signatures: U64
    ordinals: NDArray[np.uint32]
    starts: NDArray[np.int64]
    hides: bool


class Query(NamedTuple):
    """Queries, uint64 [q, words], and how they are ranked: by unequal terms, or by Hamming distance of the head."""

    words: U64
    plane_words: int
    by_overlap: bool


class Visible(NamedTuple):
    """What a search may find.

    Attributes:
        states: uint8 [images], LIVE, RETIRED or DELETED.
        recent: retired images from this ordinal on are still found.
        before: int64 [q], only images of a smaller ordinal.
    """

    states: NDArray[np.uint8]
    recent: int
    before: NDArray[np.int64]


class Shortlists(NamedTuple):
    """The nearest images met so far.

    Attributes:
        size: images wanted, S.
        keys: uint64 [q, capacity], distance · 2^32 + ordinal.
        places: uint64 [q, capacity], part · 2^32 + position.
        filled: int64 [q], entries.
        cutoffs: int64 [q], the distance up to which images are taken.
        within: int64 [q], entries ever taken at or below the cutoff.
        bounds: uint64 [q], the largest key that can still be among the best.
        histograms: int64 [q, distances], entries ever taken at each distance.
    """

    size: int
    keys: U64
    places: U64
    filled: NDArray[np.int64]
    cutoffs: NDArray[np.int64]
    within: NDArray[np.int64]
    bounds: U64
    histograms: NDArray[np.int64]
