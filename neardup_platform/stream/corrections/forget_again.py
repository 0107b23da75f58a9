"""Images that a restored store has and that were forgotten since: they are forgotten again before it is in force."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neardup_platform.clusters.change import Change
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.records import Kind
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.corrections.deciding_again import published
from neardup_platform.stream.outbox_entries import put_outbox
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import KIND_OF_TOPIC

# Messages that an image was made of.
_HALVES = 2


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What must not come back.

    Attributes:
        images: ids of decided images.
        halves: keys of halves in the waiting room.
    """

    images: Sequence[str] = ()
    halves: Sequence[bytes] = ()

    def __or__(self, other: "Forgotten") -> "Forgotten":
        """What is in either, each once."""
        return Forgotten(
            list(dict.fromkeys((*self.images, *other.images))), list(dict.fromkeys((*self.halves, *other.halves)))
        )


def forgotten_since(present: StoreView, restored: StoreView) -> Forgotten:
    """Look through a restored store for images that were forgotten after it was taken.

    Args:
        present: the store in force, which knows what was forgotten.
    """
    if next(present.scan(Table.FORGOTTEN), None) is None:
        return Forgotten()
    images = [
        image_id for image_id, record in restored.images.all() if _is_forgotten(present, image_id, record.event_time_ms)
    ]
    return Forgotten(images, _halves(present, restored.unpaired.all()))


def forgotten_of(present: StoreView, restored: StoreView, image_ids: Iterable[str]) -> Forgotten:
    """As `forgotten_since`, looking only at these images."""
    images, halves = [], []
    for image_id in image_ids:
        record = restored.images.find(image_id)
        if record is not None and _is_forgotten(present, image_id, record.event_time_ms):
            images.append(image_id)
        halves += [half for kind in Kind if (half := restored.unpaired.find(kind, image_id)) is not None]
    return Forgotten(images, _halves(present, halves))


def _halves(present: StoreView, waiting: Iterable[store_pb.UnpairedRecord]) -> list[bytes]:
    found = []
    for half in waiting:
        embedding = pb.EmbeddingReady.FromString(half.value)
        if _is_forgotten(present, embedding.image_id, embedding.event_time_ms):
            found.append(layout.waiting_key(KIND_OF_TOPIC[half.topic], embedding.image_id))
    return found


def _is_forgotten(present: StoreView, image_id: str, event_time_ms: int) -> bool:
    found = present.images.forgotten(image_id)
    return found is not None and event_time_ms <= found.upto_ms


def forget_again(restored: Store, forgotten: Forgotten, command_id: str, now_ms: int) -> None:
    """Remove them from a restored store, and put what is to be published of it into its outbox.

    Their bytes leave its files when it is opened next.
    """
    for image_id in forgotten.images:
        plan = Rearrangement(restored, now_ms, command_id)
        plan.depart([image_id])
        plan.forget(image_id)
        _write(restored, plan.complete())
    state, batch = restored.state(), Batch()
    for key in forgotten.halves:
        batch.delete(Table.WAITING, key)
    if forgotten.images or forgotten.halves:
        batch.put(Table.PURGES, layout.number_key(state.commands + 1), b"")
        state.counters["forgotten"] += _HALVES * len(forgotten.images) + len(forgotten.halves)
    batch.put_state(state)
    restored.write(batch)


def _write(restored: Store, change: Change) -> None:
    """Each in a write of its own: the next one plans on what this one left."""
    state, batch = restored.state(), Batch()
    change.write(batch, state)
    put_outbox(batch, state, published(change))
    batch.put_state(state)
    restored.write(batch)
