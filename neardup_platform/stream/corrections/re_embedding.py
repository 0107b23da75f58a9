"""Decides a known image again: for an embedding by a newer model, or for two that replace the stored ones.

Newer embedding + stored one of the other kind, or both new → new ordinal → search, score, decide → **rearrangement**.
It is a step of its own, so that the result does not depend on how the stream is cut into steps. Linked images stay
together; any other image may move. A head with members stays their head after a newer embedding, because it shows the
same picture and a cluster keeps its id. A head whose embeddings are replaced shows another picture: it leaves its
members first (`vacate`).
"""

from dataclasses import replace

from neardup_platform.clusters.change import Change
from neardup_platform.clusters.decision import Constraint
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import InvariantBroken
from neardup_platform.pipeline import Added
from neardup_platform.records import Cause, Decision, Embedding, JoinedImage, Kind
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.reprocess.replay import joined_image
from neardup_platform.wire.codec import decode_decision

# Members of a cluster whose records are read: about as long as a pass over the heads of ten million images.
_MOST_READ = 512


def decide_newer(redeciding: Redeciding, newer: Embedding | JoinedImage, now_ms: int) -> Change:
    """Decide an image again, in the corpus at once; the change is then committed, and the corpus follows it.

    Args:
        redeciding: consistent with the corpus; no step is in flight.
        newer: of a known image; a single embedding is joined with the stored one of the other kind.
        now_ms: the clock, Unix milliseconds.

    Raises:
        InvariantBroken: the store contradicts itself where the image is, or would afterwards.
    """
    store, pipeline = redeciding.store, redeciding.pipeline
    record = redeciding.known(newer.image_id)
    stored = store.vectors.get(record.ordinal)
    replaced = isinstance(newer, JoinedImage)
    image = newer if isinstance(newer, JoinedImage) else _joined(newer, joined_image(stored, record))
    plan = Rearrangement(store, now_ms)
    added = pipeline.add([image])
    ordinal = int(added.ordinals[0])
    vectors = _vector_record(image, added)
    if plan.replace_vectors(vectors) != ordinal:
        raise InvariantBroken(f"the corpus gives ordinal {ordinal} to {newer.image_id!r}, the store another")
    if record.head == newer.image_id:
        pipeline.corpus.rename(record.ordinal, ordinal, _members(store, newer.image_id))
    constraint = _constraint(redeciding, record, newer.image_id, ordinal)
    scored = pipeline.compare(added).without(record.ordinal)
    (decided,) = pipeline.decide_compared([(added, scored)], plan.next_sequence, now_ms, lambda *_: constraint)
    decision = replace(decided.decisions[0], cause=Cause.REPLACED if replaced else Cause.RE_EMBEDDED)
    vectors.retired = bool(decided.retired[0])
    _restate_picture(plan.image(newer.image_id), image)
    _put(plan, record.head, decision, searched=not vectors.retired)
    return plan.complete()


def vacate(redeciding: Redeciding, image_id: str, now_ms: int) -> Change | None:
    """Take an image whose embeddings are replaced out of the cluster it heads, which gets another head.

    Returns:
        A change to commit and apply before the image is decided again; None where it heads no other image, or overrides
        link it with one.
    """
    record, store = redeciding.known(image_id), redeciding.store
    if record.head != image_id or store.clusters.get(image_id).size == 1:
        return None
    linked = store.images.find_many(redeciding.overrides.group(image_id))[1:]
    if any(other is not None and other.head == image_id for other in linked):
        return None
    plan = Rearrangement(store, now_ms)
    plan.depart([image_id])
    alone = replace(
        decode_decision(store.history.current(image_id)),
        sequence=plan.next_sequence,
        score=0.0,
        head_score=1.0,
        bridges=(),
        decided_ms=now_ms,
        cause=Cause.REPLACED,
        override_id="",
        replaced_head="",
        guard=None,
        labels=redeciding.labels(image_id, record.ordinal, None),
    )
    plan.place(alone)
    return plan.complete()


def _members(store: StoreView, head: str) -> list[int] | None:
    """The ordinals of a cluster; None where so many records take longer to read than the heads of all images."""
    if store.clusters.get(head).size > _MOST_READ:
        return None
    found = store.images.find_many([image_id for _, image_id in store.members.all(head)])
    return [record.ordinal for record in found if record is not None]


def _put(plan: Rearrangement, head: str, decision: Decision, *, searched: bool) -> None:
    image_id = decision.image_id
    if decision.head == head:
        plan.restate(decision)
        plan.represent(image_id, represents=searched)
    else:
        plan.depart([image_id])
        plan.mark_searched(image_id, searched=searched)
        plan.place(decision)


def _constraint(redeciding: Redeciding, record: store_pb.ImageRecord, image_id: str, ordinal: int) -> Constraint:
    """An image that heads others stays where it is; otherwise overrides decide.

    Args:
        ordinal: the new one of the image.
    """

    def head_of(other: str) -> int | None:
        found = redeciding.store.images.find(other)
        if found is None:
            return None
        return ordinal if found.head == image_id else redeciding.known(found.head).ordinal

    if record.head == image_id and redeciding.store.clusters.get(image_id).size > 1:
        return Constraint(ordinal)
    return redeciding.demands.complete(image_id, redeciding.overrides.constraint(image_id, head_of))


def _joined(newer: Embedding, stored: JoinedImage) -> JoinedImage:
    """The image with one of its embeddings replaced; source and hash of the newer one take precedence."""
    image = JoinedImage(newer, stored.pair) if newer.kind is Kind.LSH else JoinedImage(stored.lsh, newer)
    source, pdq = newer.source_uri or stored.source_uri, newer.pdq or stored.pdq
    lsh, pair = (replace(each, source_uri=source, pdq=pdq) for each in (image.lsh, image.pair))
    return JoinedImage(lsh, pair)


def _restate_picture(record: store_pb.ImageRecord, image: JoinedImage) -> None:
    """Record what the image says of its picture."""
    record.source_uri = image.source_uri
    record.pdq, record.pdq_quality = (image.pdq.bits, image.pdq.quality) if image.pdq else (b"", 0)


def _vector_record(image: JoinedImage, added: Added) -> store_pb.VectorRecord:
    return store_pb.VectorRecord(
        image_id=image.image_id,
        lsh_version=image.lsh.model_version,
        pair_version=image.pair.model_version,
        lsh=added.query.vectors.lsh[0].astype("<f2").tobytes(),
        pair=added.query.vectors.pair[0].astype("<f2").tobytes(),
    )
