"""Which clusters stand for all of them in the dry run of a reprocess. Pure."""

import heapq
from collections.abc import Iterable
from hashlib import blake2b

# Images that a dry run decides, unless it is told otherwise, and at most.
DEFAULT_SAMPLE = 10_000
MAX_SAMPLE = 1_000_000


def sample_clusters(sizes: Iterable[tuple[str, int]], images: int) -> list[str]:
    """Chooses clusters evenly, by a hash of their head: the same ones every time, until they hold enough images.

    Args:
        sizes: head and number of members of every cluster, in any order.
        images: wanted, at least 1; the last cluster may exceed it.

    Returns:
        The heads of the clusters; of all, if they hold no more.
    """
    chosen: list[tuple[int, str, int]] = []
    total = 0
    for head, size in sizes:
        heapq.heappush(chosen, (-_hash(head), head, size))
        total += size
        while total - chosen[0][2] >= images:
            total -= heapq.heappop(chosen)[2]
    return [head for _, head, _ in chosen]


def _hash(head: str) -> int:
    return int.from_bytes(blake2b(head.encode(), digest_size=8).digest(), "big")
