"""Counts of all pairs of hashes by Hamming distance: exhaustive, in memory that does not grow with the pairs. Pure.

Hashes and labels → **pairs by cell, label and distance** → precision and recall. A threshold on a distance has few
values, so these counts give the exact curve; 30,000 pictures are 450 million pairs, none of which is kept.
"""

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.labelled_pairs import Labels, Numbers
from neardup_platform.scoring.calibration import ScoreCounts
from neardup_platform.terms.hyperplanes import WORD_BITS

Codes = NDArray[np.uint64]

# Rows compared at once with all later pictures: some 100 MB for 30,000 pictures.
_BLOCK = 64


def hamming(a: Codes, b: Codes) -> NDArray[np.uint16]:
    """Distances between every row of `a`, uint64 [r, words], and every row of `b`, uint64 [c, words]: uint16 [r, c]."""
    distances = np.zeros((len(a), len(b)), np.uint16)
    for word in range(a.shape[1]):
        distances += np.bitwise_count(a[:, word, None] ^ b[:, word])
    return distances


def distance_counts(codes: Codes, used: NDArray[np.bool_], labels: Labels) -> Numbers:
    """The number of unordered pairs of used pictures by cell, label and distance.

    Args:
        codes: uint64 [n, words].
        used: bool [n], which pictures to compare.
        labels: of the pictures.

    Returns:
        int64 [cells, 2, bits + 1]; the second axis is 1 for true pairs.
    """
    kept, distances = np.flatnonzero(used), WORD_BITS * codes.shape[1] + 1
    counts = np.zeros(labels.cells * 2 * distances, np.int64)
    for first in range(0, len(kept), _BLOCK):
        rows, columns = kept[first : first + _BLOCK, None], kept[first + 1 :]
        true = labels.groups[rows] == labels.groups[columns]
        places = (labels.cells_of(rows, columns) * 2 + true) * distances + hamming(codes[rows[:, 0]], codes[columns])
        later = np.arange(len(columns)) >= np.arange(len(rows))[:, None]
        counts += np.bincount(places[later], minlength=len(counts))
    return counts.reshape(labels.cells, 2, distances)


def by_score(counts: Numbers) -> list[ScoreCounts]:
    """The result of `distance_counts` by score, of all pairs and of each cell; a score is a distance, negated."""
    return [_of_cell(each) for each in (counts.sum(axis=0), *counts)]


def _of_cell(counts: Numbers) -> ScoreCounts:
    occurring = np.flatnonzero(counts.sum(axis=0))
    return ScoreCounts(-occurring.astype(np.float64), counts[1, occurring], counts[0, occurring])
