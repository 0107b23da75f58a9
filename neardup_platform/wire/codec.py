"""Converts between bytes on the wire and the records of `records.py`, and validates every incoming byte. Pure.

`neardup.proto` defines the format. `validation.py` checks what it cannot express (ids, ranges, dimensions). Every
failure is a `BadMessage` whose reason is one of `REASONS`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from neardup_platform.errors import BadMessage
from neardup_platform.records import (
    Candidate,
    Decision,
    Embedding,
    FloatVector,
    HeldApart,
    Kind,
    Label,
    ModelSpec,
    PdqHash,
)
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_bounds import MAX_COMMAND_ID_BYTES
from neardup_platform.wire.validation import checked_embedding

REASONS = {
    "garbage": "the bytes are not a message of their topic",
    "tombstone": "the value is null or empty; `neardup forget` removes an image, a tombstone does not",
    "unknown-kind": "the kind is unset, unknown, or not the kind of the topic",
    "bad-id": "the image id is empty, too long, `.`, `..`, has control characters, or differs from the key",
    "other-version": "the embedding was made by another model than the classifier was trained on",
    "bad-uri": "the source uri is too long",
    "bad-dtype": "the dtype is unset or unknown",
    "bad-dimension": "the vector does not have the dimension of its model",
    "not-finite": "the vector has NaN, infinity, or a value beyond ±60,000",
    "zero-vector": "the `lsh` vector has no direction once it is stored as float16",
    "bad-length": "the vector is too short: float16, which it is stored as, keeps too little of it",
    "bad-pdq": "the PDQ hash does not have 32 bytes, or its quality is not one of 0 to 100",
    "bad-time": "the event time is before the year 2000 (seconds?), or more than a day ahead of the clock",
    "conflicting": "the image has another embedding of this kind and model version; `replace` was not set",
    "expired": "the other embedding of the image did not arrive within the allowed lateness",
    "evicted": "more was waiting than join.max_waiting or join.max_waiting_mb allows, and this was the oldest",
    "unreadable": "the broker's copy fails its checksum or cannot be decompressed; only its place is known",
    "unpublishable": "Kafka permanently refuses this message of the worker, usually because of its size",
    "bad-command": "the control command has no usable id to report its result under",
}

_KINDS = {pb.KIND_LSH: Kind.LSH, pb.KIND_PAIR: Kind.PAIR}
_KIND_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_DTYPES = {pb.DTYPE_FLOAT32: np.dtype("<f4"), pb.DTYPE_FLOAT16: np.dtype("<f2")}


class Log(NamedTuple):
    """The log of a message: a topic may be deleted and recreated, and a broker may lose the end of a log.

    Attributes:
        id: Kafka's id of the topic, a UUID as hex; empty if the broker gives none.
        epoch: leader epoch of the partition when the message was written; -1 if unknown.
    """

    id: str = ""
    epoch: int = -1


UNKNOWN_LOG = Log()


@dataclass(frozen=True, slots=True)
class Message:
    """One record of the log.

    Attributes:
        key: empty for a record without a key.
        value: empty for a record without a value (a tombstone).
        replays: number of replays from the dead letters.
        damage: why it could not be read; empty if it was. A damaged message has only its place.
        log: the log that its offset belongs to.
    """

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    replays: int = 0
    damage: str = ""
    log: Log = UNKNOWN_LOG

    @property
    def size(self) -> int:
        """Bytes of key and value."""
        return len(self.key) + len(self.value)

    @property
    def place(self) -> str:
        """`topic[partition]@offset`."""
        return f"{self.topic}[{self.partition}]@{self.offset}"

    @property
    def identity(self) -> str:
        """Its place, distinct from the same place in a recreated topic."""
        return f"{self.log.id}/{self.place}" if self.log.id else self.place


def decode_embedding(
    message: Message, kind: Kind, expected: ModelSpec, now_ms: int, newer: Sequence[str] = ()
) -> Embedding:
    """Decode and validate one message of an embedding topic.

    Args:
        message: as read from the log.
        kind: the kind of the topic.
        expected: the model that the active classifier was trained on; any other would be scored wrongly.
        now_ms: the clock, Unix milliseconds; event times more than a day ahead of it are refused because
            they would advance the watermark past every correct image.
        newer: other model versions whose vectors are comparable with those of `expected`.

    Raises:
        BadMessage: with a reason of `REASONS`.
    """
    if not message.value:
        raise BadMessage("tombstone", "the value is null or empty: `neardup forget ID` removes an image")
    try:
        raw = pb.EmbeddingReady.FromString(message.value)
    except DecodeError as error:
        raise BadMessage("garbage", f"{len(message.value)} bytes: {error}") from error
    if _KINDS.get(raw.kind) is not kind:
        raise BadMessage("unknown-kind", f"kind {raw.kind} on the topic of {kind.value!r}")
    if message.key != raw.image_id.encode():
        raise BadMessage("bad-id", f"key {message.key[:40]!r} is not the image id {raw.image_id[:40]!r}")
    vector = _decode_vector(raw.vector, raw.dtype)
    embedding = Embedding(
        raw.image_id,
        kind,
        raw.model_version,
        vector,
        raw.event_time_ms,
        raw.source_uri,
        raw.replace,
        decode_pdq(raw.pdq, raw.pdq_quality),
    )
    return checked_embedding(embedding, expected, now_ms, newer)


def decode_pdq(bits: bytes, quality: int) -> PdqHash | None:
    """Return the hash of a message or a record; None where it has none."""
    return PdqHash(bits, quality) if bits or quality else None


def _decode_vector(data: bytes, dtype: int) -> FloatVector:
    numpy_dtype = _DTYPES.get(dtype)  # type: ignore[call-overload]
    if numpy_dtype is None:
        raise BadMessage("bad-dtype", f"dtype {dtype}, one of {sorted(_DTYPES)} expected")
    if len(data) % numpy_dtype.itemsize:
        raise BadMessage("bad-dimension", f"{len(data)} bytes are not a whole number of {numpy_dtype.name} values")
    return np.frombuffer(data, numpy_dtype).astype(np.float32)


def encode_embedding(embedding: Embedding) -> bytes:
    """Encode an embedding, with its vector as float16, which is how it is stored anyway."""
    return pb.EmbeddingReady(
        image_id=embedding.image_id,
        kind=_KIND_NUMBERS[embedding.kind],
        model_version=embedding.model_version,
        vector=_half_precision(embedding.vector),
        dtype=pb.DTYPE_FLOAT16,
        event_time_ms=embedding.event_time_ms,
        source_uri=embedding.source_uri,
        replace=embedding.replaces,
        pdq=embedding.pdq.bits if embedding.pdq else b"",
        pdq_quality=embedding.pdq.quality if embedding.pdq else 0,
    ).SerializeToString()


def _half_precision(vector: FloatVector) -> bytes:
    with np.errstate(over="ignore"):
        return vector.astype("<f2").tobytes()


def decision_event_id(image_id: str, sequence: int) -> str:
    """Return the event id of a decision, the same however often it is published: 32 hex digits of BLAKE2b."""
    return hashlib.blake2b(f"{sequence}/{image_id}".encode(), digest_size=16).hexdigest()


def encode_decision(decision: Decision) -> bytes:
    """Encode a decision, for its topic and for the history in the store."""
    return pb.Decision(
        event_id=decision_event_id(decision.image_id, decision.sequence),
        sequence=decision.sequence,
        image_id=decision.image_id,
        head=decision.head,
        score=decision.score,
        head_score=decision.head_score,
        candidates=[
            pb.Candidate(image_id=c.image_id, overlap=c.overlap, score=c.score, head=c.head, kind=c.kind)
            for c in decision.candidates
        ],
        candidates_found=decision.candidates_found,
        bridges=decision.bridges,
        threshold=decision.threshold,
        head_threshold=decision.head_threshold,
        terms_version=decision.terms_version,
        classifier_version=decision.classifier_version,
        event_time_ms=decision.event_time_ms,
        decided_ms=decision.decided_ms,
        cause=decision.cause,
        override_id=decision.override_id,
        replaced_head=decision.replaced_head,
        guard=None if decision.guard is None else pb.HeldApart(**asdict(decision.guard)),
        undistinctive=decision.undistinctive,
        corpus_images=decision.corpus_images,
        labels=[encode_label(label) for label in decision.labels],
        kind=decision.kind,
    ).SerializeToString()


def decode_decision(data: bytes) -> Decision:
    """Decode the bytes of `encode_decision`."""
    raw = pb.Decision.FromString(data)
    return Decision(
        sequence=raw.sequence,
        image_id=raw.image_id,
        head=raw.head,
        score=raw.score,
        head_score=raw.head_score,
        candidates=tuple(Candidate(c.image_id, c.overlap, c.score, c.head, c.kind) for c in raw.candidates),
        candidates_found=raw.candidates_found,
        bridges=tuple(raw.bridges),
        threshold=raw.threshold,
        head_threshold=raw.head_threshold,
        terms_version=raw.terms_version,
        classifier_version=raw.classifier_version,
        event_time_ms=raw.event_time_ms,
        decided_ms=raw.decided_ms,
        cause=raw.cause,
        override_id=raw.override_id,
        replaced_head=raw.replaced_head,
        guard=_decode_guard(raw.guard) if raw.HasField("guard") else None,
        undistinctive=raw.undistinctive,
        corpus_images=raw.corpus_images,
        labels=tuple(decode_label(label) for label in raw.labels),
    )


def encode_label(label: Label) -> pb.Label:
    """Encode a label."""
    return pb.Label(
        label_id=label.label_id,
        bank=label.bank,
        image_id=label.image_id,
        policy=label.policy,
        action=label.action,
        pdq=bytes.fromhex(label.pdq),
        distance=label.distance,
    )


def decode_label(raw: pb.Label) -> Label:
    """Decode what `encode_label` returns."""
    return Label(raw.label_id, raw.bank, raw.image_id, raw.policy, raw.action, raw.pdq.hex(), raw.distance)


def _decode_guard(raw: pb.HeldApart) -> HeldApart:
    return HeldApart(raw.reason, raw.head, raw.agreed, raw.compared, raw.size)


def decode_command(message: Message) -> pb.Command:
    """Decode one message of the control topic. Only its id is validated.

    Raises:
        BadMessage: it is garbage, or has no usable id to report a result under.
    """
    try:
        command = pb.Command.FromString(message.value)
    except DecodeError as error:
        raise BadMessage("garbage", f"{len(message.value)} bytes: {error}") from error
    encoded = command.command_id.encode()
    if not 0 < len(encoded) <= MAX_COMMAND_ID_BYTES or not command.command_id.isprintable():
        raise BadMessage(
            "bad-command", f"id {command.command_id[:40]!r}, 1 to {MAX_COMMAND_ID_BYTES} printable bytes allowed"
        )
    return command
