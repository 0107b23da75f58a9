"""Decides every image of a store again, in the recorded order, into an empty store.

Store → **images in the order of deciding → pipeline → commit** → another store. The state is a function of that order:
the same images, through the same pipeline, give the same clusters, however the stream cut them into batches and
wherever it was killed. `reprocess` decides by other rules than the recorded ones; a test, by the same ones.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from neardup_platform.clusters.overrides import Overrides
from neardup_platform.errors import InvariantBroken
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Embedding, JoinedImage, Kind
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.constraints import constraints_of
from neardup_platform.stream.steps import RedecideStep
from neardup_platform.wire.codec import decode_pdq


def replay(store: StoreView, target: Store, pipeline: Pipeline, batch: int) -> None:
    """Decide the images of a store again, under its overrides.

    An image keeps its event time and source; its decision time is that of the newest of its batch. Nothing is
    published: the outbox of the target is empty afterwards.

    Args:
        store: only read; it must not change meanwhile.
        target: without images, or with the first ones of `store`, as an interrupted replay leaves it.
        pipeline: over a corpus of the same images as `target`.
        batch: images decided at once, at least 1; no decision depends on it.

    Raises:
        InvariantBroken: the corpus is not that of the target, or a store contradicts itself.
    """
    state = target.state()
    if len(pipeline.corpus) != state.ordinals:
        raise InvariantBroken(
            f"the corpus holds {len(pipeline.corpus)} images, the target {state.ordinals}: start with empty ones"
        )
    constraints = constraints_of(Overrides(store.overrides.all()), target, pipeline.corpus, store)
    images = recorded_images(store, _next_ordinal(store, target, state.ordinals))
    while part := list(islice(images, batch)):
        decided_ms = max(record.decided_ms for _, record in part)
        decided = pipeline.decide([image for image, _ in part], state.sequence + 1, decided_ms, constraints)
        commit(target, state, RedecideStep(decided=decided), decided_ms, publish=False)


def recorded_images(store: StoreView, start: int = 0) -> Iterator[tuple[JoinedImage, store_pb.ImageRecord]]:
    """The images of a store with their records, in the order of deciding, from ordinal `start` on.

    Raises:
        InvariantBroken: an image has vectors and no record.
    """
    for stored in store.vectors.all(start):
        record = store.images.find(stored.image_id)
        if record is None:
            raise InvariantBroken(f"image {stored.image_id!r} has vectors in the store but no record")
        yield joined_image(stored, record), record


def joined_image(stored: store_pb.VectorRecord, record: store_pb.ImageRecord) -> JoinedImage:
    """A decided image as it was before it was decided."""
    pdq = decode_pdq(record.pdq, record.pdq_quality)

    def embedding(kind: Kind, version: str, data: bytes) -> Embedding:
        vector = np.frombuffer(data, "<f2").astype(np.float32)
        return Embedding(stored.image_id, kind, version, vector, record.event_time_ms, record.source_uri, pdq=pdq)

    return JoinedImage(
        embedding(Kind.LSH, stored.lsh_version, stored.lsh), embedding(Kind.PAIR, stored.pair_version, stored.pair)
    )


def stored_image(store: StoreView, image_id: str) -> JoinedImage | None:
    """The stored embeddings of an image; None where it is not known."""
    record = store.images.find(image_id)
    return None if record is None else joined_image(store.vectors.get(record.ordinal), record)


def _next_ordinal(store: StoreView, target: StoreView, images: int) -> int:
    """The ordinal at which the target's images end in the order of the store."""
    if not images:
        return 0
    last = target.vectors.get(images - 1).image_id
    record = store.images.find(last)
    if record is None:
        raise InvariantBroken(f"the target store ends with image {last!r}, which the other one does not hold")
    return record.ordinal + 1
