"""The arguments of the compiled loops: parts of the index, queries and shortlists, as plain arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

# Leading words of a signature, by which all images are compared. With 256 bits a shortlist of 1,024 loses as few true
# neighbours at ten million images as one of 16,000 with 128 bits (docs/adr/0007).
HEAD_WORDS = 4
# Replaces the key of an image that turns out not to qualify.
NOTHING = ~np.uint64(0)
# States of an image.
LIVE, RETIRED, DELETED = 0, 1, 2
# Turns of a cell.
EARLY, LATE = 1, 2
# Images whose distances are computed in one vectorised run before any is tested.
GROUP = 64


class Part(NamedTuple):
    """Images of the index, sorted by cell and within it by ordinal.

    Attributes:
        head: uint64 [HEAD_WORDS, n], the first words of the signatures.
        signatures: uint64 [n, words], all of them.
        ordinals: uint32 [n].
        starts: int64 [cells + 1], where each cell begins.
        hides: whether some are retired or deleted, so that states must be looked up.
    """

    head: U64
    signatures: U64
    ordinals: NDArray[np.uint32]
    starts: NDArray[np.int64]
    hides: bool


class Plan(NamedTuple):
    """The cells that each query scans, in ascending order.

    Attributes:
        cells: int32 [q, ·].
        turns: uint8 [q, ·], EARLY or LATE.
        counts: int64 [q], how many of them.
        images: int64 [q], how many these hold.
    """

    cells: NDArray[np.int32]
    turns: NDArray[np.uint8]
    counts: NDArray[np.int64]
    images: NDArray[np.int64]


def empty_plan(queries: int, cells: int) -> Plan:
    """Returns a plan to be filled in, with room for so many cells."""
    shape = (queries, cells)
    return Plan(
        np.empty(shape, np.int32), np.empty(shape, np.uint8), np.zeros(queries, np.int64), np.zeros(queries, np.int64)
    )


class Query(NamedTuple):
    """Queries, uint64 [q, words], and their ranking: by unequal terms, or by the Hamming distance of the head."""

    words: U64
    plane_words: int
    by_overlap: bool


class Visible(NamedTuple):
    """The images that a search may find.

    Attributes:
        states: uint8 [images], LIVE, RETIRED or DELETED.
        recent: retired images from this ordinal on are still found.
        before: int64 [q], finds only images of smaller ordinals.
    """

    states: NDArray[np.uint8]
    recent: int
    before: NDArray[np.int64]


class Shortlists(NamedTuple):
    """The nearest images so far.

    Attributes:
        size: images wanted, S.
        keys: uint64 [q, capacity], distance · 2^32 + ordinal.
        places: uint64 [q, capacity], part · 2^32 + position.
        filled: int64 [q], entries.
        cutoffs: int64 [q], the largest distance that is accepted.
        within: int64 [q], entries accepted so far at or below the cutoff.
        bounds: uint64 [q], the largest key that can still be among the best.
        histograms: int64 [q, distances], entries accepted so far at each distance.
    """

    size: int
    keys: U64
    places: U64
    filled: NDArray[np.int64]
    cutoffs: NDArray[np.int64]
    within: NDArray[np.int64]
    bounds: U64
    histograms: NDArray[np.int64]
