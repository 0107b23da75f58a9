"""The graph of recorded comparisons: every pair of images with a score, once, and the present cluster of each. Pure.

Nodes are those of `Recorded`. A pair that was compared twice has the better score: the second look passes over a pair
among many, never on its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neardup_platform.what_if.recorded import Flags, Nodes, Recorded, Scores


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Constant thresholds, 0…1; None for those that applied to the later image of a pair."""

    match: float | None = None
    head: float | None = None


@dataclass(frozen=True, slots=True)
class ComparedPairs:
    """Pairs of nodes in ascending order of `key`, all [n].

    Attributes:
        key: int64, the smaller node in the upper 32 bits, the larger in the lower.
        score: float32, pair scores.
        matches: bool, whether the score reaches the match threshold.
        agrees: bool, whether it reaches the head threshold.
    """

    key: NDArray[np.int64]
    score: Scores
    matches: Flags
    agrees: Flags

    @property
    def ends(self) -> tuple[Nodes, Nodes]:
        """The smaller and the larger node of each pair."""
        return (self.key >> 32).astype(np.int32), (self.key & 0xFFFFFFFF).astype(np.int32)

    def find(self, a: Nodes, b: Nodes) -> NDArray[np.int64]:
        """Returns the positions of pairs; −1 where a pair was not compared."""
        if not len(self.key):
            return np.full(len(a), -1, np.int64)
        wanted = _keys(a, b)
        at = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        return np.where(self.key[at] == wanted, at, -1)


def compared_pairs(recorded: Recorded, thresholds: Thresholds = Thresholds()) -> ComparedPairs:
    """Returns all recorded pairs, that of each image with the head it joined among them."""
    joined = np.flatnonzero(recorded.head != np.arange(len(recorded))).astype(np.int32)
    image = np.concatenate([recorded.edges.image, joined])
    other = np.concatenate([recorded.edges.candidate, recorded.head[joined]])
    score = np.concatenate([recorded.edges.score, recorded.head_score[joined]])
    key = _keys(image, other)
    order = np.lexsort((-score, key))
    first = order[np.flatnonzero(np.diff(key[order], prepend=-1))]
    image, score = image[first], score[first]
    match = recorded.match[image] if thresholds.match is None else np.float32(thresholds.match)
    head = recorded.least_head[image] if thresholds.head is None else np.float32(thresholds.head)
    return ComparedPairs(key[first], score, score >= match, score >= head)


def present_heads(recorded: Recorded) -> Nodes:
    """Returns the present cluster of every node, int32 [M]: as decided, then handed over to other heads.

    A forgotten image is in no cluster, which is its own here.
    """
    home, handed = recorded.homes, recorded.handovers
    at = np.zeros(len(home), np.uint64)
    heir = np.arange(len(home), dtype=np.int32)
    at[handed.old], heir[handed.old] = handed.sequence, handed.new
    decided = np.concatenate([recorded.sequence, np.zeros(len(home) - len(recorded), np.uint64)])
    for _ in range(16):
        later = at[home] > decided
        moved = np.where(later, heir[home], home)
        if np.array_equal(moved, home):
            break
        home = moved
    return np.where(recorded.forgotten, np.arange(len(home), dtype=np.int32), home)


def fixed_images(recorded: Recorded) -> Flags:
    """Returns which images no proposal may name, bool [M]: an override placed them, or they were forgotten."""
    fixed = recorded.forgotten.copy()
    fixed[: len(recorded)] |= recorded.pinned
    return fixed


def _keys(a: Nodes, b: Nodes) -> NDArray[np.int64]:
    return (np.minimum(a, b).astype(np.int64) << 32) | np.maximum(a, b)
