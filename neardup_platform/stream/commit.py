"""The commit: everything one step of the worker changes, in one atomic write.

Order of a step, which is what makes the worker effectively once; in brackets the crash points (crash_points.py) that
tests kill it at:

1. read messages from where the step before left off, at start from the positions in the store [read]
2. join them [joined], put the complete images into the vector files and the term index [added], compare and decide
   them [decided]; or finish a control command (control.py), in a step of its own [prepared]
3. one RocksDB write: decisions and history, images, clusters and members, vectors, the waiting room, what a command
   changed and its result, dead letters, decisions and results in the outbox, the new positions, the totals and the
   state digest [committed, of a command: obeyed]
4. publish from the outbox [published]
5. what the broker acknowledged [acknowledged] leaves the outbox with the next write

A crash before 3 repeats the step from the positions in the store, and what vector files and term index hold too much
is overwritten or dropped at the start [restored]; a crash after 3 publishes from the outbox again [republished], under
the same event ids. Steps are committed in the order of reading; the next one is read and compared meanwhile.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from neardup_platform.clusters import layout
from neardup_platform.clusters.layout import Table
from neardup_platform.clusters.rocksdb_store import Batch, Store
from neardup_platform.errors import BadMessage
from neardup_platform.join.pairing import Half
from neardup_platform.messages import neardup_pb2 as pb
from neardup_platform.messages.codec import (
    Message,
    decision_event_id,
    encode_dead_letter,
    encode_decision,
)
from neardup_platform.messages.kafka_publisher import Outgoing
from neardup_platform.messages.kafka_topics import DEAD_LETTER, DEBUG, DECISIONS
from neardup_platform.pipeline import Decided
from neardup_platform.stream.command import Handled
from neardup_platform.stream.control_commit import answers, put_handled

WaitingHalf = Half[Message]


@dataclass(slots=True)
class Step:
    """What one step read and joined, before it is decided.

    Attributes:
        positions: next offset by (topic, partition).
        left: halves that left the waiting room, by pairing, replacement or expiry.
        entered: halves that entered it.
        dead: messages that end here, each with its reason.
        counts: messages of this step by fate: received, repeated, expired, evicted, dead_lettered, commands_….
        handled: a control command; then nothing else is in the step.
    """

    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    left: list[WaitingHalf] = field(default_factory=list)
    entered: list[WaitingHalf] = field(default_factory=list)
    dead: list[tuple[Message, BadMessage]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    handled: Handled | None = None

    @classmethod
    def of_command(cls, handled: Handled) -> "Step":
        """The step of a control command."""
        message = handled.message
        positions = {(message.topic, message.partition): message.offset + 1}
        return cls(positions, counts={handled.fate: 1}, handled=handled)

    def count(self, fate: str) -> None:
        """Count one message by its fate."""
        self.counts[fate] = self.counts.get(fate, 0) + 1

    @property
    def empty(self) -> bool:
        """Whether nothing was read and nothing expired."""
        return not (self.positions or self.left)


def commit(
    store: Store,
    state: pb.StoreState,
    step: Step,
    decided: Sequence[Decided],
    acknowledged: int | None,
) -> list[Outgoing]:
    """Write one step; returns what it put into the outbox, to be published.

    Args:
        state: totals as of the last commit; brought up to date only once the write has succeeded.
        acknowledged: outbox number up to which everything is in the log, if that is news.
    """
    new = pb.StoreState()
    new.CopyFrom(state)
    batch = Batch()
    if acknowledged is not None:
        batch.delete_below(Table.OUTBOX, layout.number_key(acknowledged + 1))
    _put_positions(batch, step.positions)
    _put_waiting(batch, step)
    for images in decided:
        _put_decided(batch, new, images)
    _put_clusters(store, batch, decided)
    if step.handled is not None:
        put_handled(batch, new, step.handled, store.command_id)
    outgoing = _put_outbox(batch, new, _messages(step, decided))
    for fate, messages in step.counts.items():
        new.counters[fate] += messages
    new.commit += 1
    batch.delete(Table.COMMIT, layout.number_key(state.commit))
    batch.put(Table.COMMIT, layout.number_key(new.commit), b"")
    batch.put_state(new)
    store.write(batch)
    state.CopyFrom(new)
    return outgoing


def _put_positions(batch: Batch, positions: Mapping[tuple[str, int], int]) -> None:
    for (topic, partition), next_offset in positions.items():
        value = pb.Position(next_offset=next_offset).SerializeToString()
        batch.put(Table.POSITIONS, layout.position_key(topic, partition), value)


def _put_waiting(batch: Batch, step: Step) -> None:
    """A half may enter and leave within one step, and a newer one take its key: last word wins."""
    for half in step.entered:
        value = pb.WaitingHalf(
            value=half.origin.value,
            topic=half.origin.topic,
            partition=half.origin.partition,
            offset=half.origin.offset,
            waits_from_ms=half.waits_from_ms,
        )
        batch.put(Table.WAITING, layout.waiting_key(*half.key), value.SerializeToString())
    for half in step.left:
        batch.delete(Table.WAITING, layout.waiting_key(*half.key))


def _put_decided(batch: Batch, state: pb.StoreState, decided: Decided) -> None:
    digest = 0
    for row, decision in enumerate(decided.decisions):
        image_key = decision.image_id.encode()
        batch.put(Table.IMAGES, image_key, _image_record(decided, row).SerializeToString())
        batch.put(Table.MEMBERS, layout.sequence_key(decision.head, decision.sequence), decision.image_id.encode())
        batch.put(
            Table.HISTORY,
            layout.sequence_key(decision.image_id, decision.sequence),
            encode_decision(decision),
        )
        vectors = _vector_record(decided, row).SerializeToString()
        batch.put(Table.VECTORS, layout.number_key(int(decided.ordinals[row])), vectors)
        digest += layout.assignment_digest(decision.image_id, decision.head)
    state.terms_version = decided.decisions[-1].terms_version
    state.images += len(decided.decisions)
    state.clusters += sum(decision.founded for decision in decided.decisions)
    state.sequence = decided.decisions[-1].sequence
    state.digest = layout.digest_after(state.digest, digest)


def _put_clusters(store: Store, batch: Batch, decided: Sequence[Decided]) -> None:
    changed: dict[str, pb.ClusterRecord] = {}
    for decision, retired in (
        pair for images in decided for pair in zip(images.decisions, images.retired, strict=True)
    ):
        if decision.founded:
            record = pb.ClusterRecord(created_ms=decision.decided_ms)
        else:
            record = changed.get(decision.head) or store.cluster(decision.head)
            batch.delete(Table.RECENT, layout.recent_key(record.updated_sequence))
            batch.put(Table.RECENT, layout.recent_key(decision.sequence), decision.head.encode())
        record.size += 1
        record.updated_ms = decision.decided_ms
        record.updated_sequence = decision.sequence
        if not retired:
            record.representatives.append(decision.image_id)
        changed[decision.head] = record
    for head, record in changed.items():
        batch.put(Table.CLUSTERS, head.encode(), record.SerializeToString())


def _image_record(decided: Decided, row: int) -> pb.ImageRecord:
    decision = decided.decisions[row]
    return pb.ImageRecord(
        ordinal=int(decided.ordinals[row]),
        head=decision.head,
        sequence=decision.sequence,
        score=decision.score,
        event_time_ms=decision.event_time_ms,
        decided_ms=decision.decided_ms,
        source_uri=decided.images[row].source_uri,
    )


def _vector_record(decided: Decided, row: int) -> pb.VectorRecord:
    image = decided.images[row]
    return pb.VectorRecord(
        image_id=image.image_id,
        lsh_version=image.lsh.model_version,
        pair_version=image.pair.model_version,
        lsh=decided.vectors.lsh[row].astype("<f2").tobytes(),
        pair=decided.vectors.pair[row].astype("<f2").tobytes(),
        retired=bool(decided.retired[row]),
    )


def _messages(step: Step, decided: Sequence[Decided]) -> Iterable[tuple[str, bytes, bytes]]:
    """Topic, key and value of everything this step has to say."""
    now_ms = time.time_ns() // 1_000_000
    for message, error in step.dead:
        yield DEAD_LETTER, message.key, encode_dead_letter(message, error, now_ms)
    if step.handled is not None:
        yield from answers(step.handled, now_ms)
    for images in decided:
        for row, decision in enumerate(images.decisions):
            key = decision.image_id.encode()
            yield DECISIONS, key, encode_decision(decision)
            yield DEBUG, key, _debug_detail(images, row).SerializeToString()


def _debug_detail(decided: Decided, row: int) -> pb.DebugDetail:
    image, decision = decided.images[row], decided.decisions[row]
    return pb.DebugDetail(
        event_id=decision_event_id(decision.image_id, decision.sequence),
        image_id=image.image_id,
        source_uri=image.source_uri,
        lsh_version=image.lsh.model_version,
        pair_version=image.pair.model_version,
        batch_images=len(decided.images),
        stage_ms=decided.stage_ms,
    )


def _put_outbox(batch: Batch, state: pb.StoreState, messages: Iterable[tuple[str, bytes, bytes]]) -> list[Outgoing]:
    outgoing = []
    for topic, key, value in messages:
        state.outbox_number += 1
        entry = pb.OutboxEntry(topic=topic, key=key, value=value)
        batch.put(Table.OUTBOX, layout.number_key(state.outbox_number), entry.SerializeToString())
        outgoing.append(Outgoing(state.outbox_number, topic, key, value))
    return outgoing
