"""`forget`: removes an image from everything the worker keeps, except that, when and by whom it was removed.

One write deletes its record, its place among the members, its vectors, decisions and unpaired embeddings, and the
overrides that name it; one that names enough other images remains without it. Its labels pass to the head of the
cluster that it was in. A cluster that it headed gets another head. Embeddings of the image made before are
dropped from now on; later ones are those of a new image.
After the commit its bytes are overwritten in the vector files, and RocksDB rewrites the files that held them.
"""

from collections.abc import Callable, Mapping
from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.clusters.change import Change, span, spans_of
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import NotFound
from neardup_platform.records import Cause, Kind
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.banks.forgetting import Inheritance, inheritance
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import ForgetArguments

# Embeddings of one image.
EMBEDDINGS_EACH = 2


class Forget:
    """The handler.

    Args:
        on_forgotten: called with the id of each image, to drop what else is in memory of it.
    """

    def __init__(
        self, store: Store, redeciding: Redeciding, clock: Clock, on_forgotten: Callable[[str], None], /
    ) -> None:
        self._store, self._redeciding, self._clock = store, redeciding, clock
        self._on_forgotten = on_forgotten

    def __call__(self, command: pb.Command, arguments: ForgetArguments) -> Finish:
        """See `Handler`."""
        return partial(self._finish, command, arguments.image_id)

    def _finish(self, command: pb.Command, image_id: str) -> Done:
        record = self._store.images.find(image_id)
        unpaired = [found for kind in Kind if (found := self._store.unpaired.find(kind, image_id)) is not None]
        if record is None and not unpaired:
            raise NotFound("the image to forget is unknown: it is neither decided nor waiting for its other embedding")
        now_ms = self._clock.now_ms()
        times_ms = [pb.EmbeddingReady.FromString(found.value).event_time_ms for found in unpaired]
        times_ms += [command.issued_ms, *([record.event_time_ms] if record else [])]
        plan = Rearrangement(self._store, now_ms, command.command_id)
        if record is not None:
            plan.depart([image_id])
            plan.forget(image_id)
        plan.bar(
            image_id,
            store_pb.Forgotten(
                upto_ms=max(times_ms), at_ms=now_ms, issued_by=command.issued_by, command_id=command.command_id
            ),
        )
        change = plan.complete()
        heir = next((d.image_id for d in change.decisions if d.cause == Cause.HANDOVER), "")
        values = {"forgotten": "image" if record else "halves", "new_head": heir}
        count = len(unpaired) + (EMBEDDINGS_EACH if record else 0)
        head = _heir(image_id, record, heir)
        labels = inheritance(self._store, self._redeciding.labels, image_id, head)
        left = {
            override_id: None if override_id in labels.ended else override
            for override_id, override in self._redeciding.overrides.forgetting(image_id, head).items()
        }
        return self._outcome(image_id, change, left, labels, values, {"forgotten": count})

    def _outcome(
        self,
        image_id: str,
        change: Change,
        left: Mapping[str, store_pb.Override | None],
        labels: Inheritance,
        values: Mapping[str, str],
        counts: Mapping[str, int],
    ) -> Done:
        """Return what is written, and what follows in memory.

        Args:
            left: by id, what becomes of the overrides that name the image.
            labels: what becomes of those of the image.
        """
        numbers: list[int] = []

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            change.write(batch, state)
            for kind in Kind:
                batch.delete(Table.WAITING, layout.waiting_key(kind, image_id))
            for override_id, override in left.items():
                batch.delete(Table.OVERRIDES, override_id.encode())
                if override is not None:
                    batch.put(Table.OVERRIDES, override_id.encode(), override.SerializeToString())
            labels.write(batch, state)
            batch.put(Table.PURGES, layout.number_key(state.commands), b"")
            numbers.append(state.commands)

        def apply() -> None:
            for override_id, override in left.items():
                self._redeciding.overrides.remove(override_id)
                if override is not None:
                    self._redeciding.overrides.put(override)
            self._on_forgotten(image_id)
            self._redeciding.pipeline.corpus.follow(change.steps)
            labels.apply(self._redeciding.labels)
            spans = [span(Table.LABELS, layout.label_key(bank, image_id)) for bank in labels.banks]
            self._store.purge(numbers[0], [*(change.purge or spans_of(image_id, [])), *spans])

        return Done(values, write, apply, change.decisions, counts)


def _heir(image_id: str, record: store_pb.ImageRecord | None, new_head: str) -> str:
    """Return the head of the cluster that the image was in; empty if nothing is left of it."""
    return new_head if record is None or record.head == image_id else record.head
