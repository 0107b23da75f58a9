"""Undoes a `redecide` as a unit: every image that it moved, and that nothing has moved since, returns.

Recorded moves → batches → **images back into the clusters they came from** → one commit each

First those that headed a cluster of their own, then the others. A cluster that is gone has left a redirect: an image
returns to where that leads, or founds a cluster where it leads nowhere. The undo records its own moves, so it can be
undone as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from neardup_platform.clock import Clock
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import NotFound
from neardup_platform.records import Cause, Decision
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.control.command import put_progress
from neardup_platform.stream.control.outcome import Done, Finish, Outcome, Stage
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.redecide.moves import put_moves
from neardup_platform.stream.redecide.throttle import Throttle
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import decode_decision
from neardup_platform.wire.command_arguments import RedecideArguments

_COUNTS = ("moved", "skipped")

Numbered = tuple[int, store_pb.Move]


@dataclass(frozen=True, slots=True)
class _Job:
    command: pb.Command
    undone: str
    dry_run: bool
    throttle: Throttle


class Undoing:
    """What `Redecide` does with `undo`."""

    def __init__(
        self,
        store: Store,
        redeciding: Redeciding,
        clock: Clock,
        throttle: Callable[[int], Throttle],
        batch_images: int,
    ) -> None:
        self._store, self._redeciding, self._clock = store, redeciding, clock
        self._throttle, self._batch_images = throttle, batch_images

    def begin(self, command: pb.Command, arguments: RedecideArguments) -> Finish:
        """Begin or go on.

        Raises:
            NotFound: the command to undo has moved nothing, or too long ago.
        """
        undone = arguments.undo or ""
        if next(self._store.commands.moves(undone), None) is None:
            kept = ", ".join(mover for _, mover in self._store.commands.movers()[-3:]) or "none"
            raise NotFound(f"command {undone[:128]!r} has moved no image that is on record; newest that have: {kept}")
        job = _Job(command, undone, arguments.dry_run, self._throttle(arguments.images_per_s))
        progress = self._store.commands.progress(command.command_id) or store_pb.CommandProgress(
            counts={"clusters_before": self._store.state().clusters}
        )
        return self._try(job, progress) if job.dry_run else self._next(job, progress)

    def _try(self, job: _Job, progress: store_pb.CommandProgress) -> Finish:
        """Count what could return."""
        moves = self._store.commands.moves(job.undone)
        while part := list(islice(moves, self._batch_images)):
            job.throttle.wait_for(len(part))
            returning = sum(self._record_of(*each) is not None for each in part)
            progress.counts["moved"] += returning
            progress.counts["skipped"] += len(part) - returning
        return partial(self._done, job, progress)

    def _next(self, job: _Job, progress: store_pb.CommandProgress) -> Finish:
        """Read the next moves: those of heads until there are no more, then the others."""
        heads = not progress.counts["heads_returned"]
        moves = self._store.commands.moves(job.undone, progress.done)
        wanted = list(islice(moves, self._batch_images))
        after = store_pb.CommandProgress(done=wanted[-1][0] if wanted else 0, counts=progress.counts)
        if not wanted:
            if not heads:
                return partial(self._done, job, progress)
            after.counts["heads_returned"] = 1
        chosen = [each for each in wanted if (each[1].head_before == each[1].image_id) == heads]
        job.throttle.wait_for(max(1, len(chosen)))
        return partial(self._return, job, after, chosen)

    def _return(self, job: _Job, progress: store_pb.CommandProgress, moves: Sequence[Numbered]) -> Stage:
        now_ms = self._clock.now_ms()
        plan = Rearrangement(self._store, now_ms, job.command.command_id)
        records = {move.image_id: self._record_of(sequence, move) for sequence, move in moves}
        before = {image_id: record for image_id, record in records.items() if record is not None}
        targets = {move.image_id: self._target(move, before) for _, move in moves if move.image_id in before}
        going = {image_id: head for image_id, head in targets.items() if head != before[image_id].head}
        plan.depart(list(going))
        for _, move in moves:
            if move.image_id in going:
                decision = self._decision(move, going[move.image_id], plan.next_sequence, now_ms)
                plan.place(replace(decision, labels=self._redeciding.labels.of(decision)))
        change = plan.complete()
        progress.counts["moved"] += len(going)
        progress.counts["skipped"] += len(moves) - len(going)

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            put_moves(batch, self._store, job.command.command_id, change.decisions, before)
            change.write(batch, state)
            put_progress(batch, job.command.command_id, progress)

        follow = partial(self._redeciding.pipeline.corpus.follow, change.steps)
        return Stage(partial(self._next, job, progress), write, decisions=change.decisions, apply=follow)

    def _record_of(self, sequence: int, move: store_pb.Move) -> store_pb.ImageRecord | None:
        """The record of an image that is where the command has put it; None if it was forgotten or moved since.

        An image whose later moves were undone is there again.
        """
        record = self._store.images.find(move.image_id)
        if record is None or len(self._redeciding.overrides.group(move.image_id)) > 1:
            return None
        if record.sequence == sequence:
            return record
        (decision,) = self._store.history.at_many([(move.image_id, record.sequence)])
        returned = decision is not None and pb.Decision.FromString(decision).cause == Cause.UNDO
        return record if returned and record.head == move.head_after else None

    def _target(self, move: store_pb.Move, leaving: dict[str, store_pb.ImageRecord]) -> str:
        head = move.head_before
        if head != move.image_id and not self._store.clusters.exists(head):
            head = self._store.redirects.resolve(head)
        if head == move.image_id or head in leaving or not self._store.clusters.exists(head):
            return move.image_id
        return head

    def _decision(self, move: store_pb.Move, head: str, sequence: int, now_ms: int) -> Decision:
        (recorded,) = self._store.history.at_many([(move.image_id, move.sequence_before)])
        earlier = decode_decision(recorded or self._store.history.current(move.image_id))
        founds = head == move.image_id
        return replace(
            earlier,
            sequence=sequence,
            head=head,
            score=0.0 if founds else earlier.score,
            head_score=1.0 if founds else earlier.head_score,
            decided_ms=now_ms,
            cause=Cause.UNDO,
            replaced_head="",
        )

    def _done(self, job: _Job, progress: store_pb.CommandProgress) -> Outcome:
        state = self._store.state()
        counts = {name: str(progress.counts[name]) for name in (*_COUNTS, "clusters_before")}
        values = {
            "dry_run": str(job.dry_run).lower(),
            "undone": job.undone,
            **counts,
            "clusters": str(state.clusters),
            "digest": state.digest.hex(),
        }
        return Done(values)
