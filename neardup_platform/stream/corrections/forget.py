"""`forget`: an image is removed from everything that the worker keeps; what stays is that, when and by whom.

Its record, place among the members, vectors, decisions and waiting halves go in one write with the overrides that name
it. A cluster that it headed is handed to another head. Embeddings of it made before are dropped from now on, later ones
are those of a new image. After the commit the bytes are overwritten in the vector files, and RocksDB is made to write
the files anew that held them.

Its only argument is `image_id`.
"""

import time
from collections.abc import Callable
from functools import partial

from neardup_platform.clusters.change import Change, spans_of
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import NotFound
from neardup_platform.records import Cause, Kind
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.control.command import Finish, Outcome, check_arguments
from neardup_platform.stream.corrections.deciding_again import DecidingAgain, published
from neardup_platform.wire import neardup_pb2 as pb

NAME = "forget"
# Messages that an image was made of.
_HALVES = 2


class Forget:
    """The handler.

    Args:
        forgotten: told of each image, to forget what else is known of it in memory.
    """

    def __init__(self, store: Store, again: DecidingAgain, *forgotten: Callable[[str], None]) -> None:
        self._store = store
        self._again = again
        self._forgotten = forgotten

    def __call__(self, command: pb.Command) -> Finish:
        """The first half.

        Raises:
            BadCommand: the arguments will not do.
        """
        return partial(self._finish, command, check_arguments(command, {"image_id"}, set())["image_id"])

    def _finish(self, command: pb.Command, image_id: str) -> Outcome:
        record = self._store.images.find(image_id)
        halves = [half for kind in Kind if (half := self._store.unpaired.find(kind, image_id)) is not None]
        if record is None and not halves:
            raise NotFound("the image to be forgotten is not known: not decided, nor waiting for its other half")
        now_ms = time.time_ns() // 1_000_000
        times_ms = [pb.EmbeddingReady.FromString(half.value).event_time_ms for half in halves]
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
        count = len(halves) + (_HALVES if record else 0)
        return self._outcome(image_id, change, values, {"forgotten": count})

    def _outcome(self, image_id: str, change: Change, values: dict[str, str], counts: dict[str, int]) -> Outcome:
        named = [override.override_id for override in self._again.overrides.naming(image_id)]
        numbers: list[int] = []

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            change.write(batch, state)
            for kind in Kind:
                batch.delete(Table.WAITING, layout.waiting_key(kind, image_id))
            for override_id in named:
                batch.delete(Table.OVERRIDES, override_id.encode())
            batch.put(Table.PURGES, layout.number_key(state.commands), b"")
            numbers.append(state.commands)

        def apply() -> None:
            for override_id in named:
                self._again.overrides.remove(override_id)
            for forget in self._forgotten:
                forget(image_id)
            self._again.pipeline.corpus.follow(change.steps)
            self._store.purge(numbers[0], change.purge or spans_of(image_id, []))

        return Outcome(values, published(change), write, apply, counts=counts)
