"""The steps by which the corpus follows a rearrangement, by ordinals. Pure values, applied by `Corpus.follow`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Left:
    """The image of an ordinal has left its cluster."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Died:
    """An ordinal no longer has an image."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Appended:
    """An image gets the next ordinal. The vectors are the stored bytes."""

    ordinal: int
    image_id: str
    lsh: bytes
    pair: bytes


@dataclass(frozen=True, slots=True)
class Renamed:
    """The members of one head's cluster now belong to another head.

    Attributes:
        members: ordinals of the members, in any order.
    """

    old: int
    new: int
    members: Sequence[int]


@dataclass(frozen=True, slots=True)
class Placed:
    """The image of an ordinal is now in the cluster of a head. It is searched if it represents the cluster."""

    ordinal: int
    head: int
    represents: bool


CorpusStep = Left | Died | Appended | Renamed | Placed
