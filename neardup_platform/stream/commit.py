"""The commit: everything one step of the worker changes, in one atomic write.

Order of a step, which is what makes the worker effectively once; in brackets the crash points (crash_points.py) that
tests kill it at:

1. read messages from where the step before left off, at start from the positions in the store [read]
2. join them [joined], put the complete images into the vector files and the term index [added], compare and decide
   them [decided]; or, in a step of its own, finish a control command (control.py) [prepared] or decide a known image
   again for a newer embedding (re_embedding.py)
3. one RocksDB write: decisions and history, images, clusters and members, vectors, the waiting room, what a command
   changed and its result, dead letters, decisions and results in the outbox, the new positions, the totals and the
   state digest [committed, of a command: obeyed]
4. sync RocksDB's log to the disk, once for all writes since the last time [synced]; from here on a thread (outbox.py)
5. publish from the outbox what is synced [published]
6. what the broker acknowledged [acknowledged] leaves the outbox with the next write

A crash before 3 repeats the step from the positions in the store, and what vector files and term index hold too much
is overwritten or dropped at the start [restored]; a crash after 3 publishes from the outbox again [republished], under
the same event ids. So does a power cut after 4; one before 4 may repeat steps that were committed, but none that anyone
was told of. Steps are committed in the order of reading; the next one is read and compared meanwhile.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from neardup_platform.errors import BadMessage
from neardup_platform.join.pairing import Half
from neardup_platform.kafka.publisher import Outgoing, Settled
from neardup_platform.pipeline import Decided
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.commit_checks import check_decided
from neardup_platform.stream.control.command import Handled, Outcome
from neardup_platform.stream.control.commit import answers, put_handled
from neardup_platform.stream.outbox_entries import ToPublish, leave_outbox, put_outbox
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import UNKNOWN_LOG, Log, Message, decision_event_id, encode_decision
from neardup_platform.wire.dead_letters import dead_letters
from neardup_platform.wire.topics import DEAD_LETTER, DEBUG, DECISIONS, JOIN_REPORT

WaitingHalf = Half[Message]


@dataclass(slots=True)
class Step:
    """What one step read and joined, before it is decided.

    Attributes:
        positions: next offset by (topic, partition).
        logs: of which log each position is.
        gone: partitions that are no longer there; nothing of them stays in the store.
        left: halves that left the waiting room, by pairing, replacement or expiry.
        entered: halves that entered it.
        dead: messages that end here, each with its reason.
        clocks: event-time clocks of partitions, Unix milliseconds, where they moved.
        report: of the halves that expired or were evicted, where there are any.
        counts: messages of this step by fate: received, repeated, expired, evicted, dead_lettered, commands_….
        handled: a control command; then nothing else is in the step.
        outcome: a known image decided again for a newer embedding; then nothing else is in the step.
    """

    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    left: list[WaitingHalf] = field(default_factory=list)
    entered: list[WaitingHalf] = field(default_factory=list)
    dead: list[tuple[Message, BadMessage]] = field(default_factory=list)
    clocks: dict[tuple[str, int], int] = field(default_factory=dict)
    report: pb.ExpiryReport | None = None
    counts: dict[str, int] = field(default_factory=dict)
    handled: Handled | None = None
    outcome: Outcome | None = None
    logs: dict[tuple[str, int], Log] = field(default_factory=dict)
    gone: set[tuple[str, int]] = field(default_factory=set)

    @classmethod
    def of_command(cls, handled: Handled) -> "Step":
        """The step of a control command."""
        message = handled.message
        logs = dict.fromkeys(handled.positions, message.log)
        return cls(handled.positions, counts=handled.counts, handled=handled, logs=logs)

    def passed(self, message: Message) -> None:
        """Note that a message is done with."""
        partition = message.topic, message.partition
        self.positions[partition] = message.offset + 1
        self.logs[partition] = message.log

    def count(self, fate: str) -> None:
        """Count one message by its fate."""
        self.counts[fate] = self.counts.get(fate, 0) + 1

    @property
    def empty(self) -> bool:
        """Whether nothing was read, nothing expired, no clock has to be written, and no partition is gone."""
        return not (self.positions or self.left or self.clocks or self.gone)


def commit(
    store: Store,
    state: store_pb.StoreState,
    step: Step,
    decided: Sequence[Decided],
    settled: Sequence[Settled] = (),
    *,
    publish: bool = True,
) -> list[Outgoing]:
    """Write one step; returns what it put into the outbox, to be published.

    Args:
        state: totals as of the last commit; brought up to date only once the write has succeeded.
        settled: the first messages of the outbox, which leave it: they are in the log, or their dead letters come.
        publish: False for a store in the making, of which nobody is told.

    Raises:
        InvariantBroken: what was decided does not fit the store (commit_checks.py); nothing is written.
    """
    check_decided(store, state, decided)
    new = store_pb.StoreState()
    new.CopyFrom(state)
    batch = Batch()
    now_ms = time.time_ns() // 1_000_000
    refused = list(leave_outbox(batch, new, settled, now_ms))
    _put_positions(store, batch, step)
    _put_waiting(batch, step)
    histories = [_put_decided(batch, new, images) for images in decided]
    _put_clusters(store, batch, decided)
    if state.redirects:
        _end_redirects(batch, decided)
    if step.outcome is not None:
        step.outcome.write(batch, new)
    if step.handled is not None:
        put_handled(batch, new, step.handled, store.commands.id_of)
    messages = _messages(step, decided, histories, now_ms) if publish else ()
    outgoing = put_outbox(batch, new, [*refused, *messages])
    for fate, count in step.counts.items():
        new.counters[fate] += count
    new.commit += 1
    batch.delete(Table.COMMIT, layout.number_key(state.commit))
    batch.put(Table.COMMIT, layout.number_key(new.commit), b"")
    batch.put_state(new)
    store.write(batch)
    state.CopyFrom(new)
    return outgoing


def _put_positions(store: Store, batch: Batch, step: Step) -> None:
    """A partition that was read brings its clock along; of one whose clock alone moved the position stays."""
    for partition in step.positions.keys() | step.clocks.keys():
        if partition in step.positions:
            log_id, epoch = step.logs.get(partition, UNKNOWN_LOG)
            position = store_pb.Position(next_offset=step.positions[partition], log=log_id)
            if epoch >= 0:
                position.epoch = epoch
        else:
            position = store.positions.find(partition) or store_pb.Position(unread=True)
        position.clock_ms = step.clocks.get(partition, 0)
        batch.put(Table.POSITIONS, layout.position_key(*partition), position.SerializeToString())
    for partition in step.gone:
        batch.delete(Table.POSITIONS, layout.position_key(*partition))


def _put_waiting(batch: Batch, step: Step) -> None:
    """A half may enter and leave within one step, and a newer one take its key: last word wins."""
    for half in step.entered:
        value = store_pb.UnpairedRecord(
            value=half.origin.value,
            topic=half.origin.topic,
            partition=half.origin.partition,
            offset=half.origin.offset,
            waits_from_ms=half.waits_from_ms,
            replays=half.origin.replays,
            log=half.origin.log.id,
        )
        batch.put(Table.WAITING, layout.waiting_key(*half.key), value.SerializeToString())
    for half in step.left:
        batch.delete(Table.WAITING, layout.waiting_key(*half.key))


def _put_decided(batch: Batch, state: store_pb.StoreState, decided: Decided) -> list[bytes]:
    """Write what was decided; returns the decisions as encoded."""
    digest, encoded = 0, [encode_decision(decision) for decision in decided.decisions]
    for row, decision in enumerate(decided.decisions):
        image_key = decision.image_id.encode()
        batch.put(Table.IMAGES, image_key, _image_record(decided, row).SerializeToString())
        batch.put(Table.MEMBERS, layout.sequence_key(decision.head, decision.sequence), image_key)
        batch.put(Table.HISTORY, layout.sequence_key(decision.image_id, decision.sequence), encoded[row])
        vectors = _vector_record(decided, row).SerializeToString()
        batch.put(Table.VECTORS, layout.number_key(int(decided.ordinals[row])), vectors)
        digest += layout.assignment_digest(decision.image_id, decision.head)
    state.terms_version = decided.decisions[-1].terms_version
    state.images += len(decided.decisions)
    state.ordinals += len(decided.decisions)
    state.clusters += sum(decision.founded for decision in decided.decisions)
    state.sequence = decided.decisions[-1].sequence
    state.digest = layout.digest_after(state.digest, digest)
    return encoded


def _put_clusters(store: Store, batch: Batch, decided: Sequence[Decided]) -> None:
    changed: dict[str, store_pb.ClusterRecord] = {}
    for decision, retired in (
        pair for images in decided for pair in zip(images.decisions, images.retired, strict=True)
    ):
        if decision.founded:
            record = store_pb.ClusterRecord(created_ms=decision.decided_ms)
        else:
            record = changed.get(decision.head) or store.clusters.get(decision.head)
            before = layout.recent_key(decision.head, record.updated_sequence)
            now = layout.recent_key(decision.head, decision.sequence)
            if before != now:
                batch.delete(Table.RECENT, before)
            batch.put(Table.RECENT, now, layout.number_key(decision.sequence))
        record.size += 1
        record.updated_ms = decision.decided_ms
        record.updated_sequence = decision.sequence
        if not retired:
            record.representatives.append(decision.image_id)
        changed[decision.head] = record
    for head, record in changed.items():
        batch.put(Table.CLUSTERS, head.encode(), record.SerializeToString())


def _end_redirects(batch: Batch, decided: Sequence[Decided]) -> None:
    """An id that heads a cluster leads to no other (clusters/rearrangement.py)."""
    for images in decided:
        for decision in images.decisions:
            if decision.founded:
                batch.delete(Table.REDIRECTS, layout.hash_key(decision.image_id))


def _image_record(decided: Decided, row: int) -> store_pb.ImageRecord:
    decision = decided.decisions[row]
    return store_pb.ImageRecord(
        ordinal=int(decided.ordinals[row]),
        head=decision.head,
        sequence=decision.sequence,
        score=decision.score,
        event_time_ms=decision.event_time_ms,
        decided_ms=decision.decided_ms,
        source_uri=decided.images[row].source_uri,
    )


def _vector_record(decided: Decided, row: int) -> store_pb.VectorRecord:
    image = decided.images[row]
    return store_pb.VectorRecord(
        image_id=image.image_id,
        lsh_version=image.lsh.model_version,
        pair_version=image.pair.model_version,
        lsh=decided.vectors.lsh[row].astype("<f2").tobytes(),
        pair=decided.vectors.pair[row].astype("<f2").tobytes(),
        retired=bool(decided.retired[row]),
    )


def _messages(
    step: Step, decided: Sequence[Decided], histories: Sequence[Sequence[bytes]], now_ms: int
) -> Iterable[ToPublish]:
    """Topic, key and value of everything this step has to say; `histories` are the decisions as encoded."""
    for message, error in step.dead:
        for key, letter in dead_letters(message, error, now_ms):
            yield DEAD_LETTER, key, letter
    if step.report is not None:
        yield JOIN_REPORT, step.report.event_id.encode(), step.report.SerializeToString()
    if step.handled is not None:
        yield from answers(step.handled, now_ms)
    if step.outcome is not None:
        yield from step.outcome.messages
    for images, encoded in zip(decided, histories, strict=True):
        for decision, value in zip(images.decisions, encoded, strict=True):
            yield DECISIONS, decision.image_id.encode(), value
        yield DEBUG, images.decisions[0].image_id.encode(), _debug_detail(images).SerializeToString()


def _debug_detail(decided: Decided) -> pb.DebugDetail:
    image, first = decided.images[0], decided.decisions[0]
    return pb.DebugDetail(
        event_id=decision_event_id(first.image_id, first.sequence),
        image_id=image.image_id,
        lsh_version=image.lsh.model_version,
        pair_version=image.pair.model_version,
        batch_images=len(decided.images),
        stage_ms=decided.stage_ms,
        first_sequence=first.sequence,
        last_sequence=decided.decisions[-1].sequence,
    )
