"""What writes put into the outbox and take out of it: one place for the commit and for commands that fill a store.

A message that Kafka refuses for good leaves the outbox in the write that puts its dead letter there. One that is itself
a dead letter is kept in table KEPT, and put back into the outbox when the worker starts next.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from neardup_platform.errors import BadMessage
from neardup_platform.kafka.publisher import Outgoing, Settled
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.wire.codec import Message
from neardup_platform.wire.dead_letters import dead_letters
from neardup_platform.wire.topics import DEAD_LETTER

# Topic, key and value.
ToPublish = tuple[str, bytes, bytes]

# Counters of the state.
UNPUBLISHABLE, KEPT = "unpublishable", "unpublishable_kept"
# Where a message lay that was never in a partition.
_NO_PARTITION = -1
_CHUNK = 1_000


def put_outbox(batch: Batch, state: store_pb.StoreState, messages: Iterable[ToPublish]) -> list[Outgoing]:
    """Put messages at the end of the outbox."""
    outgoing = []
    for topic, key, value in messages:
        state.outbox_number += 1
        entry = store_pb.OutboxEntry(topic=topic, key=key, value=value)
        batch.put(Table.OUTBOX, layout.number_key(state.outbox_number), entry.SerializeToString())
        outgoing.append(Outgoing(state.outbox_number, topic, key, value))
    return outgoing


def leave_outbox(
    batch: Batch, state: store_pb.StoreState, settled: Sequence[Settled], now_ms: int
) -> Iterator[ToPublish]:
    """Take messages out of the beginning of the outbox; yields what is to be published of those that were refused.

    Each is deleted by its key: every range deleted since the last flush is looked through by every later read.

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


def requeue_kept(store: Store, state: store_pb.StoreState) -> int:
    """At start: put what no topic took back into the outbox, a part at a time; returns how many messages."""
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
