"""What the corpus does to follow a rearrangement, by ordinals. Pure values; `Corpus.follow` takes them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Left:
    """The image of an ordinal has left its cluster."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Died:
    """An ordinal has no image any more."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Added:
    """An image has a new ordinal, the next one; vectors as stored."""

    ordinal: int
    image_id: str
    lsh: bytes
    pair: bytes


@dataclass(frozen=True, slots=True)
class Renamed:
    """The members of the cluster of one head are those of another's, by ordinals."""

    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Placed:
    """The image of an ordinal is in the cluster of a head; `represents`: and is searched."""

    ordinal: int
    head: int
    represents: bool


CorpusStep = Left | Died | Added | Renamed | Placed
