"""Cuts and merges clusters so that every member that is placed agrees with its head. Pure, and deterministic.

Compared pairs, present clusters → **present clusters, corrected**. Nothing is formed from nothing: a cluster keeps its
head and the members that agree with it.

1. *Cut.* A member whose recorded score with its head is below the head threshold leaves. In the order of the decisions,
   each that leaves joins the cluster of its best match whose head agrees with it, or founds one.
2. *Merge.* Two clusters that hold a matching pair become one if their heads agree and every member of the smaller one
   agrees with the head of the larger. A cluster that has taken in another one is not taken in itself, and neither is
   one that an image has just joined: one image, one change.

A member that was never compared with its head stays: no score is no evidence. A member that an override placed stays
too. Clusters of a component that holds too many images are left as they are, and counted: that is a chain for people.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from neardup_platform.reclustering.compared_pairs import ComparedPairs
from neardup_platform.reclustering.kernels import place_leavers
from neardup_platform.what_if.recorded import Flags, Nodes

# Images that hang together by matches, beyond which nothing is proposed.
MAX_COMPONENT = 50_000
# Members of a cluster that another one takes in: each becomes a row of a proposal.
MAX_TAKEN_IN = 2_000


@dataclass(frozen=True, slots=True)
class Leaving:
    """A member that does not agree with its head.

    Attributes:
        image: node.
        head: the cluster that it leaves.
        score: with that head.
        to: the cluster that it joins; itself if it founds one.
        to_score: with that head; 1 for a founder.
    """

    image: int
    head: int
    score: float
    to: int
    to_score: float


@dataclass(frozen=True, slots=True)
class TakingIn:
    """A cluster that another takes in.

    Attributes:
        head: of the cluster that ends.
        into: of the one that remains.
        score: of the two heads.
        bridge: score of the best matching pair between them.
        images: nodes of the members, the head last.
    """

    head: int
    into: int
    score: float
    bridge: float
    images: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reclustered:
    """What is proposed.

    Attributes:
        home: int32 [M], the cluster of every node afterwards.
        leaving: in the order of the decisions.
        taken_in: best heads' score first.
        unjudged: members that were never compared with their head.
        largest_component: images that hang together by matches, at most.
        too_large: images in components that are too large to cut.
    """

    home: Nodes
    leaving: list[Leaving]
    taken_in: list[TakingIn]
    unjudged: int
    largest_component: int
    too_large: int


def recluster(home: Nodes, pairs: ComparedPairs, pinned: Flags, decided: int) -> Reclustered:
    """Proposes cuts, then merges.

    Args:
        home: int32 [M], the present head of every node.
        pairs: compared pairs of nodes.
        pinned: bool [M], images that stay.
        decided: nodes below are in the order of their decisions; those from it on are older than these.
    """
    component = _components(home, pairs)
    sizes = np.bincount(component)
    fixed = pinned | (sizes > MAX_COMPONENT)[component]
    rank = np.concatenate([np.arange(decided) + len(home) - decided, np.arange(len(home) - decided)])
    after, leaving, unjudged = _cut(home.copy(), pairs, fixed, rank)
    settled = fixed.copy()
    settled[[each.image for each in leaving]] = True
    taken_in = _merge(after, pairs, settled, rank)
    too_large = int(sizes[sizes > MAX_COMPONENT].sum())
    return Reclustered(after, leaving, taken_in, unjudged, int(sizes.max(initial=0)), too_large)


def _components(home: Nodes, pairs: ComparedPairs) -> NDArray[np.int32]:
    """Numbers the connected components of matches and memberships."""
    a, b = (end[pairs.matches] for end in pairs.ends)
    rows, columns = np.concatenate([a, np.arange(len(home))]), np.concatenate([b, home])
    graph = coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=(len(home), len(home)))
    numbers: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return numbers


def _cut(home: Nodes, pairs: ComparedPairs, fixed: Flags, rank: NDArray[np.int64]) -> tuple[Nodes, list[Leaving], int]:
    """Lets members leave that do not agree with their head; changes `home`."""
    members = np.flatnonzero(home != np.arange(len(home))).astype(np.int32)
    at = pairs.find(members, home[members])
    unjudged = int((at < 0).sum())
    leaves = (at >= 0) & ~pairs.agrees[at] & ~fixed[members] & ~_is_head(home)[members] if len(pairs.key) else at > 0
    order = np.flatnonzero(leaves)[np.argsort(rank[members[leaves]])]
    leavers, scores = members[order], pairs.score[at[order]]
    starts, matches = _matches(pairs, rank, leavers)
    heads, placed = home[leavers], np.empty(len(leavers), np.int64)
    home[leavers] = -1
    place_leavers(leavers, starts, matches, pairs.key, pairs.agrees, home, placed)
    to_scores = np.where(placed >= 0, pairs.score[placed], 1.0) if len(leavers) else scores
    columns = (column.tolist() for column in (leavers, heads, scores, home[leavers], to_scores))
    found = [Leaving(*row) for row in zip(*columns, strict=True)]
    return home, found, unjudged


def _merge(home: Nodes, pairs: ComparedPairs, fixed: Flags, rank: NDArray[np.int64]) -> list[TakingIn]:
    """Lets clusters take in others; changes `home`."""
    by_home = np.argsort(home, kind="stable").astype(np.int32)
    starts = np.searchsorted(home[by_home], np.arange(len(home) + 1))
    ended, remaining, found = set[int](), set[int](), []
    for one, other, score, bridge in _bridged(home, pairs, fixed, rank):
        into, head = sorted((one, other), key=lambda each: (starts[each] - starts[each + 1], rank[each]))
        members = by_home[starts[head] : starts[head + 1]]
        if head in remaining or head in ended or into in ended or len(members) > MAX_TAKEN_IN or fixed[members].any():
            continue
        at = pairs.find(members, np.full(len(members), into, np.int32))
        if (at < 0).any() or not pairs.agrees[at].all():
            continue
        home[members] = into
        ended.add(head)
        remaining.add(into)
        last = members[np.lexsort((rank[members], members == head))]
        found.append(TakingIn(head, into, score, bridge, tuple(last.tolist())))
    return found


def _bridged(
    home: Nodes, pairs: ComparedPairs, fixed: Flags, rank: NDArray[np.int64]
) -> list[tuple[int, int, float, float]]:
    """Two heads that agree, of clusters that hold a matching pair, their score and that of the best such pair."""
    a, b = pairs.ends
    bridging = np.flatnonzero(pairs.matches & (home[a] != home[b]))
    one, other = home[a[bridging]], home[b[bridging]]
    low, high, scores = np.minimum(one, other), np.maximum(one, other), pairs.score[bridging]
    order = np.lexsort((-scores, high, low))
    best = order[np.flatnonzero(np.diff((low[order].astype(np.int64) << 32) | high[order], prepend=-1))]
    low, high, scores = low[best], high[best], scores[best]
    heads = pairs.find(low, high)
    agree = np.flatnonzero(heads >= 0)
    agree = agree[pairs.agrees[heads[agree]] & ~fixed[low[agree]] & ~fixed[high[agree]]]
    low, high, scores, score = low[agree], high[agree], scores[agree], pairs.score[heads[agree]]
    order = np.lexsort((np.maximum(rank[low], rank[high]), np.minimum(rank[low], rank[high]), -scores, -score))
    columns = (column[order].tolist() for column in (low, high, score, scores))
    return list(zip(*columns, strict=True))


def _matches(pairs: ComparedPairs, rank: NDArray[np.int64], images: Nodes) -> tuple[NDArray[np.int64], Nodes]:
    """The matches of images, best first, among equal ones the older image first: int64 [n, 2] positions, and nodes."""
    a, b = (end[pairs.matches] for end in pairs.ends)
    score = pairs.score[pairs.matches]
    image, other = np.concatenate([a, b]), np.concatenate([b, a])
    order = np.lexsort((rank[other], -np.concatenate([score, score]), image))
    return np.searchsorted(image[order], np.stack([images, images + 1], axis=1)), other[order]


def _is_head(home: Nodes) -> Flags:
    heads = np.zeros(len(home), np.bool_)
    heads[home] = True
    return heads
