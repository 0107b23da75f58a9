"""What the worker knows of an image when another embedding of it arrives: from the store, or from a step in flight."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from neardup_platform.errors import BadMessage
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.stream.reprocess.replay import stored_image
from neardup_platform.wire.validation import same_vector


class StoredImages:
    """The images of a store.

    Args:
        state: live totals of the store.
    """

    def __init__(self, store: StoreView, state: store_pb.StoreState) -> None:
        self._store, self._state = store, state

    def is_known(self, image_id: str) -> bool:
        """Whether an image is decided."""
        return self._store.images.find(image_id) is not None

    def embeddings(self, image_id: str) -> JoinedImage | None:
        """The embeddings of a decided image."""
        return stored_image(self._store, image_id)

    def forgotten_upto_ms(self, image_id: str) -> int:
        """The event time up to which embeddings of an image are dropped, because it was forgotten; 0: none."""
        return self._store.images.forgotten_upto_ms(image_id) if self._state.forgotten else 0


class KnownImages:
    """Decided images, and those that a step in flight is deciding.

    Args:
        models: the required model of each kind.
        newer: versions of later models of each kind, oldest first.
        is_stored: whether the store knows an image.
        stored: the embeddings that the store has of an image.
    """

    def __init__(
        self,
        models: Mapping[Kind, ModelSpec],
        newer: Mapping[Kind, Sequence[str]],
        is_stored: Callable[[str], bool],
        stored: Callable[[str], JoinedImage | None],
    ) -> None:
        self._models, self._newer = models, newer
        self._is_stored, self._stored = is_stored, stored
        self._in_flight: dict[str, JoinedImage] = {}

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._in_flight or self._is_stored(image_id)

    def add(self, images: Iterable[JoinedImage]) -> None:
        """Add images of a step in flight."""
        self._in_flight |= {image.image_id: image for image in images}

    def committed(self, image_ids: Iterable[str]) -> None:
        """Record that the store knows images of a step in flight now."""
        for image_id in image_ids:
            self._in_flight.pop(image_id, None)

    def in_flight(self, image_id: str) -> JoinedImage | None:
        """The embeddings of an image of a step in flight."""
        return self._in_flight.get(image_id)

    def embeddings(self, image_id: str) -> JoinedImage | None:
        """The embeddings of a known image."""
        return self._in_flight.get(image_id) or self._stored(image_id)

    def is_replaced_by(self, embedding: Embedding) -> bool:
        """Whether an embedding of a known image takes the place of the present one.

        It does if it was made later. Otherwise it was delivered again, or another replacement overtook it.
        """
        if not embedding.replaces:
            return False
        present = self.embeddings(embedding.image_id)
        return present is None or embedding.event_time_ms > present.event_time_ms

    def is_older_than(self, embedding: Embedding) -> bool:
        """Whether an embedding of a known image is by a later model than the stored one.

        For an image in flight it may be: that is decided once the image is stored.
        """
        if embedding.model_version not in self._newer[embedding.kind]:
            return False
        if embedding.image_id in self._in_flight:
            return True
        order = (self._models[embedding.kind].version, *self._newer[embedding.kind])
        present = self._stored(embedding.image_id)
        stored = present.embedding(embedding.kind).model_version if present is not None else ""
        return stored not in order or order.index(embedding.model_version) > order.index(stored)


def check_same(embedding: Embedding, present: JoinedImage | Embedding | None) -> None:
    """Refuse an embedding that differs from the present one of its kind and model version.

    Raises:
        BadMessage: `conflicting`.
    """
    there = present.embedding(embedding.kind) if isinstance(present, JoinedImage) else present
    if there is None or there.model_version != embedding.model_version:
        return
    if not same_vector(embedding.vector, there.vector):
        older = ", which was made later than this one" if embedding.replaces else ""
        raise BadMessage(
            "conflicting",
            f"image {embedding.image_id[:80]!r} has another {embedding.kind} vector of version "
            f"{embedding.model_version[:80]!r}{older}; to replace it: `neardup ingest --replace`, or `replace` in both "
            "of its messages with a later event time",
        )
