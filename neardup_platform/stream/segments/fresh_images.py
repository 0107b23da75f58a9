"""Tells the images of a bulk load that are new from those that the worker knows, or has forgotten."""

from collections import Counter
from collections.abc import Callable, Sequence

from neardup_platform.records import JoinedImage, Kind
from neardup_platform.store.view import StoreView
from neardup_platform.stream.reprocess.replay import joined_image
from neardup_platform.wire.validation import same_vector


def _none(_image_id: str) -> None:
    return None


def fresh_images(
    store: StoreView, images: Sequence[JoinedImage], in_flight: Callable[[str], JoinedImage | None] = _none
) -> tuple[list[JoinedImage], Counter[str]]:
    """Return the images to decide, and how many have each fate; of several rows with one id the first counts.

    The fates are `decided`; `known`, with equal vectors of each kind and model version; `conflicting`, with others; and
    `forgotten` since their event time.

    Args:
        store: of the worker.
        in_flight: the embeddings of an image that is being decided and is not stored yet.
    """
    first: dict[str, JoinedImage] = {}
    fates: Counter[str] = Counter()
    fresh = []
    for image in images:
        if image is not first.setdefault(image.image_id, image):
            fates[_repeated(image, first[image.image_id])] += 1
    stored = store.images.find_many(list(first))
    any_forgotten = store.state().forgotten > 0
    for image, record in zip(first.values(), stored, strict=True):
        there = in_flight(image.image_id)
        if any_forgotten and image.event_time_ms <= store.images.forgotten_upto_ms(image.image_id):
            fates["forgotten"] += 1
        elif record is not None:
            fates[_repeated(image, joined_image(store.vectors.get(record.ordinal), record))] += 1
        elif there is not None:
            fates[_repeated(image, there)] += 1
        else:
            fresh.append(image)
    fates["decided"] = len(fresh)
    return fresh, fates


def _repeated(image: JoinedImage, there: JoinedImage) -> str:
    pairs = [(image.embedding(kind), there.embedding(kind)) for kind in Kind]
    same = all(a.model_version != b.model_version or same_vector(a.vector, b.vector) for a, b in pairs)
    return "known" if same else "conflicting"
