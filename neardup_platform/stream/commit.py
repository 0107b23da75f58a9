"""The commit: everything that one step of the worker changes, in one atomic write.

The order of a step makes the worker effectively once. In brackets are the crash points (crash_points.py) at which tests
kill it:

1. read messages from where the previous step ended, after a start from the positions in the store [read]
2. join them [joined], put the complete images into the vector files and the term index [added], compare and decide
   them [decided]; or, in a step of its own, finish a control command (control/control.py) [prepared] or decide a known
   image again for a newer embedding (corrections/re_embedding.py)
3. one RocksDB write, for a load together with the files that it takes in: decisions and history, images, clusters and
   members, vectors, the waiting room, the effect and result of a command, dead letters, decisions and results in the
   outbox, the new positions, the totals and the state digest [committed; of a command: command_committed, of a stage:
   stage_committed]
4. sync RocksDB's log to disk, once for all writes since the last sync [synced]; from here on in a thread (outbox.py)
5. publish from the outbox what is synced [published]
6. what the broker acknowledged [acknowledged] leaves the outbox with the next write

A crash before 3 repeats the step from the positions in the store; what the vector files and the term index hold beyond
the store is overwritten or dropped at the next start [restored]. A crash after 3 publishes from the outbox again
[republished], under the same event ids. So does a power cut after 4. One before 4 may repeat steps that were committed,
but none that was published. Steps are committed in read order, while the next one is read and compared.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from neardup_platform.clusters.change import count_outcomes
from neardup_platform.kafka.publisher import Outgoing, Settled
from neardup_platform.pipeline import Decided
from neardup_platform.records import Decision, Label
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Changes, IngestBatch, Store
from neardup_platform.stream.banks.label_rows import put_matched
from neardup_platform.stream.commit_checks import check_decided
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Done, Ingestion, ReplaceStore, Stage
from neardup_platform.stream.control.result_writes import answers, put_handled
from neardup_platform.stream.outbox_entries import ToPublish, decision_messages, leave_outbox, put_outbox
from neardup_platform.stream.steps import CommandStep, Consumed, RedecideStep, Step, StreamStep
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import UNKNOWN_LOG, decision_event_id, encode_decision
from neardup_platform.wire.dead_letters import dead_letters
from neardup_platform.wire.topics import DEAD_LETTER, DEBUG, DECISIONS, JOIN_REPORT

# Images listed as changed by one commit; of more, a start reads all images.
MOST_TOUCHED = 100_000


def commit(
    store: Store,
    state: store_pb.StoreState,
    step: Step,
    now_ms: int,
    settled: Sequence[Settled] = (),
    *,
    publish: bool = True,
) -> list[Outgoing]:
    """Write one step; returns what it put into the outbox.

    Args:
        state: totals as of the last commit; updated only once the write has succeeded.
        now_ms: the clock, Unix milliseconds.
        settled: the first messages of the outbox, which leave it: acknowledged, or refused for good.
        publish: False for a store under construction, whose decisions are not published.

    Raises:
        InvariantBroken: what was decided does not fit the store (commit_checks.py); nothing is written.
    """
    decided = step.decided
    check_decided(store, state, decided)
    new = store_pb.StoreState()
    new.CopyFrom(state)
    batch, effect = _begun(step)
    refused = list(leave_outbox(batch, new, settled, now_ms))
    _put_consumed(store, batch, new, step)
    histories = [_put_decided(batch, new, images) for images in decided]
    _put_clusters(store, batch, decided)
    for images in decided:
        put_matched(batch, store, new, images.decisions)
    if state.redirects:
        _end_redirects(batch, decided)
    if isinstance(step, CommandStep):
        put_handled(batch, new, step.handled, store.commands)
    effect(new)
    if isinstance(step, RedecideStep):
        put_matched(batch, store, new, step.decisions)
    messages = _messages(step, histories, now_ms) if publish else ()
    outgoing = put_outbox(batch, new, [*refused, *messages])
    new.commit += 1
    batch.delete(Table.COMMIT, layout.number_key(state.commit))
    batch.put(Table.COMMIT, layout.number_key(new.commit), b"")
    _put_touched(batch, new, state.ordinals)
    batch.put_state(new)
    store.write(batch)
    state.CopyFrom(new)
    return outgoing


def _put_touched(batch: Changes, state: store_pb.StoreState, known: int) -> None:
    """Note which images known before, those below ordinal `known`, are changed; see image_table/checkpoint.py."""
    touched = sorted(ordinal for ordinal in batch.touched if ordinal < known)
    everything = isinstance(batch, IngestBatch) or len(touched) > MOST_TOUCHED
    if touched or everything:
        record = store_pb.Touched(ordinals=() if everything else touched, all=everything)
        batch.put(Table.TOUCHED, layout.number_key(state.commit), record.SerializeToString())
    state.touched_commit, batch.is_noted = state.commit, True


def _begun(step: Step) -> tuple[Batch | IngestBatch, Callable[[store_pb.StoreState], None]]:
    """An empty batch, and what puts the step's own changes into it: files take no deleted ranges."""
    match step:
        case CommandStep(Handled(outcome=Stage(ingestion=Ingestion(files, folder, write)))):
            ingested = IngestBatch(files, folder)
            return ingested, partial(write, ingested)
        case CommandStep(Handled(outcome=Done() | Stage() | ReplaceStore() as outcome)):
            batch = Batch()
            return batch, partial(outcome.write, batch)
        case RedecideStep(write=changes):
            batch = Batch()
            return batch, partial(changes, batch)
        case _:
            return Batch(), _nothing


def _nothing(_state: store_pb.StoreState) -> None:
    """Of a step without changes of its own."""


def _put_consumed(store: Store, batch: Changes, state: store_pb.StoreState, step: Step) -> None:
    """Write what a step consumed from the log: positions, clocks, the waiting room, counters."""
    match step:
        case StreamStep(consumed=consumed) | RedecideStep(consumed=consumed):
            _put_waiting(batch, consumed)
        case CommandStep(handled):
            consumed = Consumed(handled.positions, handled.logs, counts=handled.counts)
    _put_positions(store, batch, consumed)
    for fate, count in consumed.counts.items():
        state.counters[fate] += count


def _put_positions(store: Store, batch: Changes, consumed: Consumed) -> None:
    """Write positions with their clocks; where only the clock moved, the stored position stays."""
    for partition in consumed.positions.keys() | consumed.clocks.keys():
        if partition in consumed.positions:
            log_id, epoch = consumed.logs.get(partition, UNKNOWN_LOG)
            position = store_pb.Position(next_offset=consumed.positions[partition], log=log_id)
            if epoch >= 0:
                position.epoch = epoch
        else:
            position = store.positions.find(partition) or store_pb.Position(unread=True)
        position.clock_ms = consumed.clocks.get(partition, 0)
        batch.put(Table.POSITIONS, layout.position_key(*partition), position.SerializeToString())
    for partition in consumed.gone:
        batch.delete(Table.POSITIONS, layout.position_key(*partition))


def _put_waiting(batch: Changes, consumed: Consumed) -> None:
    """Leaving is written after entering, because an embedding may do both within one step."""
    for unpaired in consumed.entered:
        value = store_pb.UnpairedRecord(
            value=unpaired.origin.value,
            topic=unpaired.origin.topic,
            partition=unpaired.origin.partition,
            offset=unpaired.origin.offset,
            waits_from_ms=unpaired.waits_from_ms,
            replays=unpaired.origin.replays,
            log=unpaired.origin.log.id,
        )
        batch.put(Table.WAITING, layout.waiting_key(*unpaired.key), value.SerializeToString())
    for unpaired in consumed.left:
        batch.delete(Table.WAITING, layout.waiting_key(*unpaired.key))


def _put_decided(batch: Changes, state: store_pb.StoreState, decided: Decided) -> list[bytes]:
    """Write new images; returns their decisions, encoded."""
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
    _count_hashes(state, decided)
    count_outcomes(state, decided.decisions)
    return encoded


def _count_hashes(state: store_pb.StoreState, decided: Decided) -> None:
    """Count images that no hash of a bank can match, and those that one has matched."""
    hashes = [image.pdq for image in decided.images]
    counts = {
        "pdq_missing": sum(pdq is None for pdq in hashes),
        "pdq_unreliable": sum(pdq is not None and not pdq.reliable for pdq in hashes),
        "pdq_labelled": sum(any(_by_own_hash(label, made) for label in made.labels) for made in decided.decisions),
    }
    for name, count in counts.items():
        if count:
            state.counters[name] += count


def _by_own_hash(label: Label, decision: Decision) -> bool:
    return bool(label.pdq) and label.image_id in ("", decision.image_id)


def _put_clusters(store: Store, batch: Changes, decided: Sequence[Decided]) -> None:
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


def _end_redirects(batch: Changes, decided: Sequence[Decided]) -> None:
    """Delete the redirects of ids that head a cluster now (clusters/rearrangement.py)."""
    for images in decided:
        for decision in images.decisions:
            if decision.founded:
                batch.delete(Table.REDIRECTS, layout.hash_key(decision.image_id))


def _image_record(decided: Decided, row: int) -> store_pb.ImageRecord:
    decision, pdq = decided.decisions[row], decided.images[row].pdq
    return store_pb.ImageRecord(
        ordinal=int(decided.ordinals[row]),
        head=decision.head,
        sequence=decision.sequence,
        score=decision.score,
        event_time_ms=decision.event_time_ms,
        decided_ms=decision.decided_ms,
        source_uri=decided.images[row].source_uri,
        held_apart=decision.guard is not None,
        undistinctive=decision.undistinctive,
        kind=decision.kind,
        pdq=pdq.bits if pdq else b"",
        pdq_quality=pdq.quality if pdq else 0,
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


def _messages(step: Step, histories: Sequence[Sequence[bytes]], now_ms: int) -> Iterable[ToPublish]:
    """Everything that a step publishes; `histories` are its new decisions, encoded."""
    match step:
        case StreamStep(consumed=consumed):
            yield from _consumed_messages(consumed, now_ms)
        case CommandStep(handled):
            yield from answers(handled, now_ms)
            if isinstance(handled.outcome, Stage) and handled.outcome.quiet:
                return
        case RedecideStep(consumed=consumed, decisions=decisions):
            yield from _consumed_messages(consumed, now_ms)
            yield from decision_messages(decisions)
    for images, encoded in zip(step.decided, histories, strict=True):
        for decision, value in zip(images.decisions, encoded, strict=True):
            yield DECISIONS, decision.image_id.encode(), value
        yield DEBUG, images.decisions[0].image_id.encode(), _debug_detail(images).SerializeToString()


def _consumed_messages(consumed: Consumed, now_ms: int) -> Iterable[ToPublish]:
    for message, error in consumed.dead:
        for key, letter in dead_letters(message, error, now_ms):
            yield DEAD_LETTER, key, letter
    if consumed.report is not None:
        yield JOIN_REPORT, consumed.report.event_id.encode(), consumed.report.SerializeToString()


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
