"""Compiled: the decision rule over recorded candidates, one image after another in the order of their decisions.

The rule is that of `clusters/decision.py` and `Evidence.agreement`; a test compares the two on random records.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.clusters.decision import LEAST_AGREEING

# Of a node that no quarantine names: no decision has a higher sequence.
NEVER = np.iinfo(np.int64).max
# An image whose cluster is headed by one decided later is found in so many steps.
_MOST_STEPS = 16


class Table(NamedTuple):
    """Candidates of all images; see `Edges`."""

    starts: NDArray[np.int64]
    candidate: NDArray[np.int32]
    score: NDArray[np.float32]
    copy: NDArray[np.bool_]


class Limits(NamedTuple):
    """What an image must reach, float32 [N], and the guard; `passed_over` is −1 if no candidate was."""

    match: NDArray[np.float32]
    least_head: NDArray[np.float32]
    guarded_size: int
    guard_share: float
    passed_over: float


class Demands(NamedTuple):
    """What overrides of whole clusters demand.

    Attributes:
        heads_too: bool [M], nodes that count as a head of their cluster, because a merge names them.
        quarantined_at: int64 [M], sequence of the quarantine that names a node; `NEVER` for none.
        closed_at: int64 [M], the same by head of the cluster; changed by the replay.
        sequence: int64 [N], of each image.
    """

    heads_too: NDArray[np.bool_]
    quarantined_at: NDArray[np.int64]
    closed_at: NDArray[np.int64]
    sequence: NDArray[np.int64]


class Known(NamedTuple):
    """The recorded head of each image, the score with it, and whether the image stays with it; all [N]."""

    head: NDArray[np.int32]
    score: NDArray[np.float32]
    pinned: NDArray[np.bool_]


@njit(nogil=True, cache=True)
def replay_records(
    table: Table,
    limits: Limits,
    known: Known,
    demands: Demands,
    home: NDArray[np.int32],
    sizes: NDArray[np.int64],
    unknown: NDArray[np.bool_],
) -> None:
    """Decides every image.

    Args:
        table: candidates, best first.
        limits: what an image must reach.
        known: what was recorded of it.
        demands: of merges and quarantines.
        home: int32 [M], the recorded clusters; those of the N images are replaced.
        sizes: int64 [M], members of each head's cluster outside the records; grows.
        unknown: bool [N], receives which images matched a cluster with whose head no score was recorded.
    """
    for image in range(len(known.head)):
        if known.pinned[image]:
            chosen = _root(home, image)
        else:
            chosen = _choose(table, limits, known, demands, home, sizes, unknown, image)
        home[image] = chosen
        sizes[chosen] += 1
        demands.closed_at[chosen] = min(demands.closed_at[chosen], demands.quarantined_at[image])


@njit(nogil=True, cache=True)
def _choose(
    table: Table,
    limits: Limits,
    known: Known,
    demands: Demands,
    home: NDArray[np.int32],
    sizes: NDArray[np.int64],
    unknown: NDArray[np.bool_],
    image: int,
) -> int:
    """The head of the cluster that an image joins; itself if it founds one."""
    first, stop = table.starts[image], table.starts[image + 1]
    for at in range(first, stop):
        if table.score[at] < limits.match[image]:
            break
        head = _root(home, table.candidate[at])
        if head == image or _is_seen(table, home, first, at, head):
            continue
        agreed = _score_with(table, demands, home, first, stop, head)
        if known.head[image] == head:
            agreed = max(agreed, known.score[image])
        unknown[image] |= agreed < 0
        guarded = limits.guard_share > 0 and 0 < limits.guarded_size <= sizes[head]
        # An image that is recorded there was let in: it was known before the quarantine.
        closed = demands.sequence[image] > demands.closed_at[head] and _root(home, known.head[image]) != head
        if agreed >= limits.least_head[image] and not (
            closed or (guarded and _is_refused(table, limits, home, image, head))
        ):
            return head
    return image


@njit(nogil=True, cache=True)
def _is_refused(table: Table, limits: Limits, home: NDArray[np.int32], image: int, head: int) -> bool:
    """Whether too few members of a guarded cluster agree with an image that is no copy of one."""
    agreeing, compared, apart = 0, 0, 1
    for at in range(table.starts[image], table.starts[image + 1]):
        if _root(home, table.candidate[at]) != head:
            continue
        if table.copy[at] and table.score[at] >= limits.match[image]:
            return False
        if table.score[at] != np.float32(limits.passed_over):
            compared += 1
            if table.score[at] >= limits.least_head[image]:
                agreeing += 1
            if table.candidate[at] == head:
                apart = 0  # The head is among them; otherwise it was compared on its own, and agreed.
    agreeing, compared = agreeing + apart, compared + apart
    return agreeing < min(LEAST_AGREEING, compared) or agreeing / compared < limits.guard_share


@njit(nogil=True, cache=True)
def _root(home: NDArray[np.int32], node: int) -> int:
    """The head of a node's cluster."""
    for _ in range(_MOST_STEPS):
        above = home[node]
        if above == node:
            break
        node = above
    return node


@njit(nogil=True, cache=True)
def _is_seen(table: Table, home: NDArray[np.int32], first: int, at: int, head: int) -> bool:
    """Whether a better candidate is in the same cluster."""
    for other in range(first, at):  # noqa: SIM110 -- numba compiles no generator here
        if _root(home, table.candidate[other]) == head:
            return True
    return False


@njit(nogil=True, cache=True)
def _score_with(table: Table, demands: Demands, home: NDArray[np.int32], first: int, stop: int, head: int) -> float:
    """The best recorded score with a head of a cluster; −1 if there is none."""
    found = np.float32(-1)
    for at in range(first, stop):
        node = table.candidate[at]
        if node == head or (demands.heads_too[node] and _root(home, node) == head):
            found = max(found, table.score[at])
    return float(found)
