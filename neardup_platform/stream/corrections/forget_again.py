"""Images in a restored store that were forgotten since: they are forgotten again before that store becomes active."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.records import Kind
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.corrections.forget import EMBEDDINGS_EACH
from neardup_platform.stream.steps import RedecideStep
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.topics import KIND_OF_TOPIC


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What must not come back.

    Attributes:
        images: ids of decided images.
        unpaired: keys of unpaired embeddings in the waiting room.
    """

    images: Sequence[str] = ()
    unpaired: Sequence[bytes] = ()

    def __or__(self, other: "Forgotten") -> "Forgotten":
        """Everything that is in either, once."""
        return Forgotten(
            list(dict.fromkeys((*self.images, *other.images))), list(dict.fromkeys((*self.unpaired, *other.unpaired)))
        )


def forgotten_since(present: StoreView, restored: StoreView) -> Forgotten:
    """Search a restored store for images that were forgotten after it was copied.

    Args:
        present: the active store, which records what was forgotten.
    """
    if next(present.scan(Table.FORGOTTEN), None) is None:
        return Forgotten()
    images = [
        image_id for image_id, record in restored.images.all() if _is_forgotten(present, image_id, record.event_time_ms)
    ]
    return Forgotten(images, _unpaired_keys(present, restored.unpaired.all()))


def forgotten_of(present: StoreView, restored: StoreView, image_ids: Iterable[str]) -> Forgotten:
    """As `forgotten_since`, for these images only."""
    images, unpaired = [], []
    for image_id in image_ids:
        record = restored.images.find(image_id)
        if record is not None and _is_forgotten(present, image_id, record.event_time_ms):
            images.append(image_id)
        unpaired += [found for kind in Kind if (found := restored.unpaired.find(kind, image_id)) is not None]
    return Forgotten(images, _unpaired_keys(present, unpaired))


def _unpaired_keys(present: StoreView, records: Iterable[store_pb.UnpairedRecord]) -> list[bytes]:
    found = []
    for record in records:
        embedding = pb.EmbeddingReady.FromString(record.value)
        if _is_forgotten(present, embedding.image_id, embedding.event_time_ms):
            found.append(layout.waiting_key(KIND_OF_TOPIC[record.topic], embedding.image_id))
    return found


def _is_forgotten(present: StoreView, image_id: str, event_time_ms: int) -> bool:
    found = present.images.forgotten(image_id)
    return found is not None and event_time_ms <= found.upto_ms


def moved_by_forgetting(restored: StoreView, image_ids: Iterable[str]) -> set[str]:
    """Return the images that forgetting some may move in a restored store: they, and members of what they head."""
    moved = set(image_ids)
    for image_id in list(moved):
        moved.update(member for _, member in restored.members.all(image_id))
    return moved


def forget_again(restored: Store, forgotten: Forgotten, command_id: str, now_ms: int) -> None:
    """Remove them from a restored store, and put the decisions that this takes into its outbox.

    Their bytes leave the store's files when it is opened next.
    """
    for image_id in forgotten.images:
        plan = Rearrangement(restored, now_ms, command_id)
        plan.depart([image_id])
        plan.forget(image_id)
        change = plan.complete()
        # By itself, because the next one is planned on its result.
        commit(restored, restored.state(), RedecideStep(change.write, change.decisions), now_ms)
    state, batch = restored.state(), Batch()
    for key in forgotten.unpaired:
        batch.delete(Table.WAITING, key)
    if forgotten.images or forgotten.unpaired:
        batch.put(Table.PURGES, layout.number_key(state.commands + 1), b"")
        state.counters["forgotten"] += EMBEDDINGS_EACH * len(forgotten.images) + len(forgotten.unpaired)
    batch.put_state(state)
    restored.write(batch)
