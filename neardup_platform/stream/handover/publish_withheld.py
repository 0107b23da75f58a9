"""`publish-withheld`: publishes decisions about chosen images that were withheld in the last shadow.

List of images on S3 → batches → **present decisions numbered again** → published

Which images are chosen is for the sender to say: those that the other pipeline had put elsewhere, so that consumers who
followed it hold what the store holds. The present decision of each is numbered again and published, with its present
head. One that has been decided since the shadow is published already, and so is one that this command has published:
sent again, or continued by a worker after a kill, it publishes nothing twice. A new shadow ends it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.errors import BadCommand, InvariantBroken
from neardup_platform.records import Cause, Decision
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.shadow import current_shadow
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.command import put_progress
from neardup_platform.stream.control.interruption import Interruption
from neardup_platform.stream.control.outcome import Done, Finish, Stage
from neardup_platform.stream.redecide.throttle import Throttle
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision, encode_decision
from neardup_platform.wire.command_arguments import PublishWithheldArguments

BATCH_IMAGES = 256
_COUNTS = ("published", "unknown", "published_before")

Fetch = Callable[[str], tuple[list[str], bytes]]


@dataclass(frozen=True, slots=True)
class _Job:
    """A command in progress: the images that it lists, and the checksum of their list."""

    command: pb.Command
    image_ids: Sequence[str]
    checksum: bytes
    throttle: Throttle


class PublishWithheld:
    """The handler.

    Args:
        fetch: reads a selection.
        has_room: whether more may be published.
        batch_images: of a batch.
    """

    def __init__(
        self,
        store: StoreView,
        fetch: Fetch,
        has_room: Callable[[], bool],
        clock: Clock,
        batch_images: int = BATCH_IMAGES,
    ) -> None:
        self._store, self._fetch, self._has_room, self._clock = store, fetch, has_room, clock
        self._batch_images = batch_images
        self._interruption = Interruption()

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interruption.interrupt()

    def __call__(self, command: pb.Command, arguments: PublishWithheldArguments) -> Finish:
        """Read the list of images; see `Handler`."""
        self._interruption.clear()
        ids, checksum = self._fetch(arguments.selection)
        throttle = Throttle(arguments.images_per_s, self._has_room, self._interruption, self._clock)
        job = _Job(command, ids, checksum, throttle)
        progress = self._store.commands.progress(command.command_id) or store_pb.CommandProgress(of=checksum)
        if progress.of != checksum:
            raise BadCommand(
                f"its list of images was replaced on S3 after {progress.done} of them were published: send another "
                "command"
            )
        return self._next(job, progress)

    def _next(self, job: _Job, progress: store_pb.CommandProgress) -> Finish:
        """Prepare a batch: wait until there is room for it."""
        ids = job.image_ids[progress.done : progress.done + self._batch_images]
        if not ids:
            return partial(_done, progress)
        job.throttle.wait_for(len(ids))
        return partial(self._publish, job, progress, ids)

    def _publish(self, job: _Job, progress: store_pb.CommandProgress, ids: Sequence[str]) -> Stage:
        """Number the present decisions of a batch again, and publish them."""
        state, command_id, now_ms = self._store.state(), job.command.command_id, self._clock.now_ms()
        if current_shadow(state) is not None:
            raise BadCommand(
                f"the worker is in shadow, so nothing is published; {progress.done} of {len(job.image_ids)} listed "
                "images were handled before it began. Send the command `cut-over` first (`neardup cut-over`)"
            )
        last = state.shadows[-1].until_sequence if state.shadows else 0
        found = zip(ids, self._store.images.find_many(list(ids)), strict=True)
        known = [(image_id, record) for image_id, record in found if record is not None]
        withheld = [each for each in known if each[1].sequence <= last]
        decisions = [
            _numbered(self._store, image_id, record, state.sequence + number, command_id, now_ms)
            for number, (image_id, record) in enumerate(withheld, 1)
        ]
        after = store_pb.CommandProgress()
        after.CopyFrom(progress)
        after.done += len(ids)
        after.counts["published"] += len(decisions)
        after.counts["unknown"] += len(ids) - len(known)
        after.counts["published_before"] += len(known) - len(withheld)

        def write(batch: Batch, new: store_pb.StoreState) -> None:
            for decision, (image_id, record) in zip(decisions, withheld, strict=True):
                # It stays where it is among the members of its cluster.
                record.member_sequence = layout.listed_under(record)
                record.sequence, record.decided_ms = decision.sequence, now_ms
                batch.put(Table.IMAGES, image_id.encode(), record.SerializeToString())
                key = layout.sequence_key(image_id, decision.sequence)
                batch.put(Table.HISTORY, key, encode_decision(decision))
            new.sequence += len(decisions)
            put_progress(batch, command_id, after)

        return Stage(partial(self._next, job, after), write, decisions=decisions)


def _numbered(
    store: StoreView, image_id: str, record: store_pb.ImageRecord, sequence: int, command_id: str, now_ms: int
) -> Decision:
    """The present decision of an image, as it is published for the first time."""
    data = store.history.at_many([(image_id, record.sequence)])[0]
    if data is None:
        raise InvariantBroken(f"decision {record.sequence} of {image_id!r} is missing from the history")
    return replace(
        decode_decision(data),
        sequence=sequence,
        # A cluster that was handed over has another head than the decisions of its members say.
        head=record.head,
        cause=Cause.CUT_OVER,
        override_id=command_id,
        replaced_head="",
        decided_ms=now_ms,
    )


def _done(progress: store_pb.CommandProgress) -> Done:
    return Done({"images": str(progress.done), **{name: str(progress.counts[name]) for name in _COUNTS}})
