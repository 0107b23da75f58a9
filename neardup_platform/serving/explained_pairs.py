"""Where an image agrees with the match that let it join and with its head, computed from the vectors stored now."""

from typing import NamedTuple

from neardup_platform.pair_comparison import Structure, structure_of_pair
from neardup_platform.records import Decision
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.serving.answers.pairs import ExplainedPair
from neardup_platform.serving.stored_images import vectors_of
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView


class _Other(NamedTuple):
    """An image that a decision rests on.

    Attributes:
        match, head: whether it is the match that let the image join, and the head of the cluster joined.
        vectors: None if they are not those that were compared.
        reason: why not.
    """

    image_id: str
    match: bool
    head: bool
    vectors: ImageVectors | None
    reason: str


class Behind(NamedTuple):
    """The vectors behind a decision, all read at one moment; two other images at most."""

    vectors: ImageVectors
    others: tuple[_Other, ...]


def vectors_behind(store: StoreView, decision: Decision, record: store_pb.ImageRecord) -> Behind:
    """Reads the vectors of an image, of the match that let it join, and of the head.

    Args:
        store: unchanged meanwhile.
        decision: the current one of the image.
        record: of the image.
    """
    joined = None if decision.founded else decision.head
    match = next(
        (
            candidate.image_id
            for candidate in decision.candidates
            if candidate.head == joined and candidate.score >= decision.threshold
        ),
        None,
    )
    ids = [each for each in dict.fromkeys((match, joined)) if each is not None]
    return Behind(
        vectors_of(store, record),
        tuple(_Other(each, each == match, each == joined, *_present_vectors(store, each, record)) for each in ids),
    )


def _present_vectors(store: StoreView, image_id: str, record: store_pb.ImageRecord) -> tuple[ImageVectors | None, str]:
    """The vectors of another image, or why they are not those that it was compared by."""
    other = store.images.find(image_id)
    if other is None:
        return None, f"image {image_id!r} was forgotten since"
    # Ordinals are given in the order of deciding; an image that is embedded again gets another.
    if other.earlier_ordinals and other.ordinal > record.ordinal:
        return None, f"image {image_id!r} was embedded again since"
    return vectors_of(store, other), ""


def structures(behind: Behind, sketch: slice | str) -> list[ExplainedPair]:
    """Lays the pictures over each other.

    Args:
        behind: the vectors.
        sketch: which entries of a pair vector are the sketch, or why that is unknown.
    """
    return [ExplainedPair.of(other, structure=_structure(behind.vectors, other, sketch)) for other in behind.others]


def _structure(vectors: ImageVectors, other: _Other, sketch: slice | str) -> Structure:
    if other.vectors is None:
        return Structure(None, other.reason)
    if isinstance(sketch, str):
        return Structure(None, sketch)
    return structure_of_pair(vectors.pair[0], other.vectors.pair[0], sketch)
