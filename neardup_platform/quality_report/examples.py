"""Decisions to show to people, and how those of some hours become those of a period. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

# Shown of each kind; and images of a cluster, its head among them.
MOST_SHOWN = 6
MOST_IN_CLUSTER = 5
# Clusters that an hour remembers, of which those with the most images in all hours are shown.
MOST_GROWN = 50


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and another that it was compared with.

    Attributes:
        other: the head of its cluster, or its best match.
        score: of the two.
        threshold: from which they match.
        joined: whether the image joined a cluster.
        rank: the smaller, the rather it is shown.
    """

    image: str
    other: str
    score: float
    threshold: float
    joined: bool
    rank: float


@dataclass(frozen=True, slots=True)
class Chain:
    """A cluster that looks like a chain, and the last image that was held apart from it.

    Attributes:
        agreed, compared: members that resemble the image, of how many it was compared with.
        size: members of the cluster.
        held: images that were held apart from it.
    """

    head: str
    image: str
    agreed: int
    compared: int
    size: int
    held: int


@dataclass(frozen=True, slots=True)
class Grown:
    """A cluster, some of the images that joined it, and how many did."""

    head: str
    images: tuple[str, ...]
    joined: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Decisions of some hours.

    Attributes:
        merges: images that joined a cluster, with its head, chosen by chance.
        grown: the clusters that most images joined.
        chains: the largest ones.
        uncertain: images with the best match whose score is nearest to the threshold.
    """

    merges: tuple[Pair, ...] = ()
    grown: tuple[Grown, ...] = ()
    chains: tuple[Chain, ...] = ()
    uncertain: tuple[Pair, ...] = ()

    def image_ids(self) -> Iterator[str]:
        """The images that are shown; those of the kinds in turn, so that a limit leaves some of each."""
        for n in range(MOST_SHOWN):
            for chain in self.chains[n : n + 1]:
                yield from (chain.head, chain.image)
            for pair in (*self.uncertain[n : n + 1], *self.merges[n : n + 1]):
                yield from (pair.image, pair.other)
            for cluster in self.grown[n : n + 1]:
                yield from (cluster.head, *cluster.images)


def together(parts: Iterable[Examples]) -> Examples:
    """The examples of all parts: those that are shown."""
    listed = list(parts)
    return Examples(
        merges=_first(pair for part in listed for pair in part.merges),
        grown=_grown(cluster for part in listed for cluster in part.grown),
        chains=_chains(chain for part in listed for chain in part.chains),
        uncertain=_first(pair for part in listed for pair in part.uncertain),
    )


def _first(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    return tuple(sorted(pairs, key=lambda pair: (pair.rank, pair.image))[:MOST_SHOWN])


def _grown(clusters: Iterable[Grown]) -> tuple[Grown, ...]:
    found: dict[str, list[Grown]] = defaultdict(list)
    for cluster in clusters:
        found[cluster.head].append(cluster)
    sums = []
    for head, parts in found.items():
        images = tuple(dict.fromkeys(image for part in parts for image in part.images))
        sums.append(Grown(head, images[: MOST_IN_CLUSTER - 1], sum(part.joined for part in parts)))
    return tuple(sorted(sums, key=lambda cluster: (-cluster.joined, cluster.head))[:MOST_SHOWN])


def _chains(chains: Iterable[Chain]) -> tuple[Chain, ...]:
    found: dict[str, Chain] = {}
    for chain in chains:
        held = found[chain.head].held if chain.head in found else 0
        found[chain.head] = replace(chain, held=chain.held + held)
    return tuple(sorted(found.values(), key=lambda chain: (-chain.held, -chain.size, chain.head))[:MOST_SHOWN])
