"""Images as the store has them: their records and vectors, or why there are none."""

from datetime import UTC, datetime

from neardup_platform.corpus import stored_vectors
from neardup_platform.errors import NotFound
from neardup_platform.records import Decision
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.wire.codec import decode_decision


def known_image(store: StoreView, image_id: str) -> store_pb.ImageRecord:
    """The record of an image.

    Raises:
        NotFound: the image has not been decided, or was forgotten; the text says by whom, and where its cluster went.
    """
    record = store.images.find(image_id)
    if record is not None:
        return record
    forgotten = store.images.forgotten(image_id)
    if forgotten is None:
        raise NotFound(
            f"image {image_id!r} has not been decided: it is unknown, or still waits for its second embedding"
        )
    when = datetime.fromtimestamp(forgotten.at_ms / 1_000, UTC)
    head = store.redirects.resolve(image_id)
    raise NotFound(
        f"image {image_id!r} was forgotten at {when:%Y-%m-%d %H:%M:%SZ} by {forgotten.issued_by} "
        f"(command {forgotten.command_id}){f'; its cluster is that of {head!r} now' if head != image_id else ''}"
    )


def decision_at(store: StoreView, image_id: str, at_ms: int) -> tuple[Decision, str]:
    """The decision about a known image that was current at a time, Unix milliseconds, and the head of its cluster then.

    Raises:
        NotFound: the image was decided later.
    """
    decision = store.history.at(image_id, at_ms)
    if decision is not None:
        return decision, store.redirects.resolve_at(decision.head, at_ms)
    first = decode_decision(store.history.all(image_id)[0])
    raise NotFound(
        f"image {image_id!r} had not been decided at {at_ms}: its first decision is of {first.decided_ms}, "
        "both in Unix milliseconds"
    )


def vectors_of(store: StoreView, record: store_pb.ImageRecord) -> ImageVectors:
    """The vectors of an image, one row.

    Raises:
        InvariantBroken: the image has no vectors.
    """
    stored = store.vectors.get(record.ordinal)
    return stored_vectors([(stored.lsh, stored.pair)])
