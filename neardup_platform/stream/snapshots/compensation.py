"""Publishes what a restore makes untrue, so that consumers who mirror the decisions hold the restored store.

Active store + restored store → **images in another cluster, images unknown** → outbox and history of the restored store

A consumer keeps the decision with the highest sequence number of each image, renames a cluster when it is handed over,
and drops an image whose decision has no head. So it holds what the active store holds. This is published, under higher
numbers:

| image | published |
|---|---|
| in another cluster, or unknown in the active store | its decision in the restored store, again, cause `rollback` |
| unknown in the restored store | that it is gone: no head, cause `rollback` |
| in the same cluster | nothing |

An image that is gone and whose embeddings Kafka still has is decided again, and published then, even if to the same
cluster. One whose embeddings are lost stays gone. Both tables of images are in order of id: they are merged in one
pass, while the stream runs (`changed_heads`). Then it waits until the images that have moved since are compared again
(`compare_again`), and what has changed is published in chunks.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from neardup_platform.clusters.change import gone_decision
from neardup_platform.clusters.partition_diff import HeadChange, merge_heads
from neardup_platform.errors import InvariantBroken
from neardup_platform.records import Cause
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.outbox_entries import ToPublish, decision_messages, put_outbox
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decision_event_id
from neardup_platform.wire.topics import DECISIONS

# Images in one write.
_CHUNK = 1_000
# Changes kept in memory until the stream waits: a few hundred bytes each. If there are more, it waits for the pass.
MOST_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Compensated:
    """How much was published: nothing in shadow.

    Attributes:
        again: images of the restored store.
        gone: images that it does not hold.
    """

    again: int
    gone: int


def compensate(
    present: StoreView,
    restored: Store,
    command_id: str,
    now_ms: int,
    check_cancelled: Callable[[], None] = lambda: None,
    changes: Sequence[HeadChange] | None = None,
) -> Compensated:
    """Put into the restored store what is published because of the restore.

    Args:
        present: the active store; it stands still.
        restored: it holds everything else already, and its totals say which sequence numbers are used.
        command_id: of the restore.
        now_ms: the clock, Unix milliseconds.
        check_cancelled: called before each write; raises to stop.
        changes: all images whose cluster differs, in order of id; None compares all images.
    """
    again = gone = 0
    for part in _chunks(_changed(present, restored) if changes is None else iter(changes)):
        check_cancelled()
        state, batch = restored.state(), Batch()
        lost = [change.image_id for change in part if change.head_after is None]
        held = [change.image_id for change in part if change.head_after is not None]
        again += len(put_outbox(batch, state, _again(batch, state, restored, held, command_id, now_ms)))
        gone += len(put_outbox(batch, state, _gone(state, lost, command_id, now_ms)))
        batch.put_state(state)
        # No image gets another head or ordinal: checkpoints of the corpus stay as they are.
        batch.is_noted = True
        restored.write(batch)
    return Compensated(again, gone)


def changed_heads(
    present: StoreView, restored: StoreView, check_cancelled: Callable[[], None] = lambda: None
) -> list[HeadChange] | None:
    """Return the images whose cluster differs, in order of id; None if there are more than `MOST_KEPT`.

    Args:
        present: the active store, whose images of one moment are compared.
        check_cancelled: called for every thousandth change; raises to stop.
    """
    kept: list[HeadChange] = []
    for part in _chunks(_changed(present, restored)):
        check_cancelled()
        kept += part
        if len(kept) > MOST_KEPT:
            return None
    return kept


def compare_again(
    changes: Sequence[HeadChange], present: StoreView, restored: StoreView, image_ids: Collection[str]
) -> list[HeadChange]:
    """Return the changes after some images have moved in either store.

    Args:
        changes: before, in order of id.
        image_ids: every image that may have moved, known in either store or not.
    """
    found = {change.image_id: change for change in changes}
    ids = sorted(image_ids)
    for at in range(0, len(ids), _CHUNK):
        part = ids[at : at + _CHUNK]
        records = zip(part, present.images.find_many(part), restored.images.find_many(part), strict=True)
        for image_id, before, after in records:
            change = HeadChange(image_id, before.head if before else None, after.head if after else None)
            if change.head_before == change.head_after:
                found.pop(image_id, None)
            else:
                found[image_id] = change
    return [found[image_id] for image_id in sorted(found)]


def _changed(present: StoreView, restored: StoreView) -> Iterator[HeadChange]:
    changes = merge_heads(present.images.heads(), restored.images.heads())
    return (change for change in changes if change.head_before != change.head_after)


def _again(
    batch: Batch, state: store_pb.StoreState, restored: Store, image_ids: Sequence[str], command_id: str, now_ms: int
) -> Iterator[ToPublish]:
    """Number the current decisions of images again, in their history too."""
    for image_id, record in zip(image_ids, restored.images.find_many(list(image_ids)), strict=True):
        if record is None:
            raise InvariantBroken(f"image {image_id!r} left the restored store while it was compared")
        decision = pb.Decision.FromString(restored.history.current(image_id))
        state.sequence += 1
        decision.sequence, decision.event_id = state.sequence, decision_event_id(image_id, state.sequence)
        decision.cause, decision.override_id, decision.decided_ms = Cause.ROLLBACK, command_id, now_ms
        # A cluster that was handed over has another head than the decisions of its members say.
        decision.head = record.head
        decision.ClearField("replaced_head")
        # It stays where it is among the members of its cluster.
        record.member_sequence = layout.listed_under(record)
        record.sequence, record.decided_ms = state.sequence, now_ms
        value = decision.SerializeToString(deterministic=True)
        batch.put(Table.IMAGES, image_id.encode(), record.SerializeToString())
        batch.put(Table.HISTORY, layout.sequence_key(image_id, state.sequence), value)
        yield DECISIONS, image_id.encode(), value


def _gone(state: store_pb.StoreState, image_ids: Sequence[str], command_id: str, now_ms: int) -> Iterator[ToPublish]:
    for image_id in image_ids:
        state.sequence += 1
        yield from decision_messages([gone_decision(state.sequence, image_id, now_ms, command_id, Cause.ROLLBACK)])


def _chunks(changes: Iterator[HeadChange]) -> Iterator[list[HeadChange]]:
    while part := list(islice(changes, _CHUNK)):
        yield part
