"""What a write puts into the outbox and takes out of it, for the commit and for commands that fill a store.

A message that Kafka refuses for good leaves the outbox in the write that puts its dead letter there. A dead letter that
is refused itself is kept in table KEPT and goes back into the outbox at the worker's next start.

While the store is in shadow, what is addressed to consumers of decisions is withheld and counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from neardup_platform.errors import BadMessage
from neardup_platform.kafka.publisher import Outgoing, Settled
from neardup_platform.records import Decision
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.shadow import current_shadow
from neardup_platform.store.writer import Batch, Changes, Store
from neardup_platform.wire.codec import Message, encode_decision
from neardup_platform.wire.dead_letters import dead_letters
from neardup_platform.wire.topics import DEAD_LETTER, DEBUG, DECISIONS

# Topic, key and value.
ToPublish = tuple[str, bytes, bytes]

# Counters of the state.
UNPUBLISHABLE, KEPT = "unpublishable", "unpublishable_kept"
# The partition of a message that was never in one.
_NO_PARTITION = -1
_CHUNK = 1_000
# Topics that carry what consumers follow; everything else is for operators and producers.
_WITHHELD = (DECISIONS, DEBUG)


def put_outbox(batch: Changes, state: store_pb.StoreState, messages: Iterable[ToPublish]) -> list[Outgoing]:
    """Append messages to the outbox, and withhold decisions in shadow; returns what was appended.

    Args:
        state: the totals that the write leaves behind.
    """
    outgoing, shadow = [], current_shadow(state)
    for topic, key, value in messages:
        if shadow is not None and topic in _WITHHELD:
            shadow.withheld += topic == DECISIONS
            continue
        state.outbox_number += 1
        entry = store_pb.OutboxEntry(topic=topic, key=key, value=value)
        batch.put(Table.OUTBOX, layout.number_key(state.outbox_number), entry.SerializeToString())
        outgoing.append(Outgoing(state.outbox_number, topic, key, value))
    return outgoing


def leave_outbox(
    batch: Changes, state: store_pb.StoreState, settled: Sequence[Settled], now_ms: int
) -> Iterator[ToPublish]:
    """Remove messages from the start of the outbox; yields what to publish about those that were refused.

    Each is deleted by its key, because every later read has to search all ranges deleted since the last flush.

    Args:
        settled: the first messages of the outbox, in order.
        now_ms: the clock, Unix milliseconds.
    """
    for each in settled:
        batch.delete(Table.OUTBOX, layout.number_key(each.number))
        state.outbox_first = each.number + 1
        message = each.refused
        if message is None:
            continue
        state.counters[UNPUBLISHABLE] += 1
        if message.topic == DEAD_LETTER:
            state.counters[KEPT] += 1
            entry = store_pb.OutboxEntry(topic=message.topic, key=message.key, value=message.value)
            batch.put(Table.KEPT, layout.number_key(message.number), entry.SerializeToString())
            continue
        original = Message(message.topic, _NO_PARTITION, message.number, message.key, message.value)
        for key, letter in dead_letters(original, BadMessage("unpublishable", each.why), now_ms):
            yield DEAD_LETTER, key, letter


def decision_messages(decisions: Iterable[Decision]) -> Iterator[ToPublish]:
    """The messages that publish decisions."""
    for decision in decisions:
        yield DECISIONS, decision.image_id.encode(), encode_decision(decision)


def requeue_kept(store: Store, state: store_pb.StoreState) -> int:
    """Put refused dead letters back into the outbox at the start, in chunks; returns how many messages."""
    kept = store.scan(Table.KEPT)
    count = 0
    while part := list(islice(kept, _CHUNK)):
        batch = Batch()
        for key, value in part:
            state.outbox_number += 1
            batch.delete(Table.KEPT, key)
            batch.put(Table.OUTBOX, layout.number_key(state.outbox_number), value)
        count += len(part)
        state.counters[KEPT] -= min(len(part), state.counters[KEPT])
        batch.put_state(state)
        store.write(batch)
    return count
