"""What a restored store takes over from the active one: numbers, corrections, and everything that was published.

Active store + snapshot → **the snapshot's images and positions, the active store's commands and corrections**

| table, total | in the restored store |
|---|---|
| images, clusters, members, history, vectors, redirects, waiting room, positions, counters | the snapshot's |
| position of the control topic, commands and their results, promotions, counters of commands | the present's |
| overrides, labels, hashes of banks, forgotten ids | the present's: they are permanent |
| outbox, what Kafka refused | the present's: what was decided is published, and what follows gets higher numbers |
| sequence | the present's: no event id is used twice, so no two decisions share one |
| store id | a new one: term index and vector files belong to another store |
| shared ordinals | those that mean the same images in the active store: the next start takes over their files |
| whether the stream is paused | the present's |
| whether it is in shadow | the present's, unless no operator has said so here (store/shadow.py) |
"""

from dataclasses import dataclass
from itertools import islice
from uuid import uuid4

from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.shadow import keep_shadows
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.corrections.deferred_overrides import unmet
from neardup_platform.stream.outbox_entries import put_outbox
from neardup_platform.wire.topics import CONTROL

_OF_THE_PRESENT = (
    Table.COMMANDS,
    Table.COMMAND_ORDER,
    Table.PROMOTIONS,
    Table.OUTBOX,
    Table.OVERRIDES,
    Table.LABELS,
    Table.HASHES,
    Table.FORGOTTEN,
    Table.PURGES,
    Table.KEPT,
)
# Rows copied in one write.
_CHUNK = 1_000


@dataclass(frozen=True, slots=True)
class Carried:
    """What was carried over, for the result of the restore.

    Attributes:
        overrides: active before and after.
        overrides_unmet: of them, those whose images are not where the override requires.
    """

    overrides: int
    overrides_unmet: int


def name_restored(present: store_pb.StoreState, restored: Store) -> None:
    """Give a restored store an id of its own, for which files can be made, and record what it shares.

    Args:
        present: totals of the active store.
        restored: as it was when the snapshot was taken.
    """
    state, batch = restored.state(), Batch()
    end = _shared_end(present, state)
    state.shared.CopyFrom(store_pb.Shared(store_id=present.store_id, end=end))
    state.store_id = uuid4().hex
    batch.put_state(state)
    restored.write(batch)


def carry_over(present: StoreView, restored: Store, classifier: store_pb.Promotion | None) -> Carried:
    """Write into a restored store what it takes over from the active one.

    Args:
        present: the active store; nothing may be written to it afterwards.
        restored: as it was when the snapshot was taken, with its own name (`name_restored`).
        classifier: the change of classifier that the restore makes; None where the classifier stays.
    """
    now, state = present.state(), restored.state()
    for table in _OF_THE_PRESENT:
        _copy(table, present, restored)
    batch = Batch()
    batch.clear(Table.PROGRESS)
    for key, value in present.scan(Table.POSITIONS):
        if layout.position_of(key)[0] == CONTROL:
            batch.put(Table.POSITIONS, key, value)
    _take_totals(now, state)
    if classifier is not None:
        state.classifier_version = classifier.version
        # It belongs to the command, whose result has the next number.
        batch.put(Table.PROMOTIONS, layout.number_key(state.commands + 1), classifier.SerializeToString())
    batch.put_state(state)
    restored.write(batch)
    overrides = restored.overrides.all()
    return Carried(len(overrides), len(unmet(restored, overrides)))


def append_outbox(present: StoreView, restored: Store, after: int) -> None:
    """Append what came into the outbox of the active store after it was copied: reports and dead letters.

    Args:
        after: number of the last message that was copied.
    """
    state, batch = restored.state(), Batch()
    messages = ((entry.topic, entry.key, entry.value) for _, entry in present.outbox.pending(after + 1))
    put_outbox(batch, state, messages)
    batch.put_state(state)
    restored.write(batch)


def _copy(table: Table, present: StoreView, restored: Store) -> None:
    """Replace a table, in chunks, because an outbox may be long; nothing reads the restored store yet."""
    batch = Batch()
    batch.clear(table)
    restored.write(batch)
    rows = present.scan(table)
    while part := list(islice(rows, _CHUNK)):
        batch = Batch()
        for key, value in part:
            batch.put(table, key, value)
        restored.write(batch)


def _take_totals(now: store_pb.StoreState, state: store_pb.StoreState) -> None:
    state.sequence = max(state.sequence, now.sequence)
    state.outbox_number = max(state.outbox_number, now.outbox_number)
    state.outbox_first = now.outbox_first
    state.commands, state.forgotten = now.commands, now.forgotten
    state.ClearField("paused")
    if now.HasField("paused"):
        state.paused.CopyFrom(now.paused)
    keep_shadows(now, state)
    for fate in {*state.counters, *now.counters}:
        if fate.startswith(("commands_", "unpublishable")):
            state.counters[fate] = now.counters[fate]


def _shared_end(now: store_pb.StoreState, state: store_pb.StoreState) -> int:
    """Up to which ordinal two stores mean the same images: a store assigns each once, and keeps its id meanwhile."""
    given = min(now.ordinals, state.ordinals)
    if now.store_id == state.store_id:
        return given
    # What is active was restored before, from a state of the same store.
    return min(given, now.shared.end) if now.shared.store_id == state.store_id else 0
