"""`redecide`: decides chosen images again, in place, while the stream runs; or undoes such a command.

List of images on S3 → batches → **surveyed in a thread → the few that move decided between two steps** → commits

A batch is surveyed in the command's thread: weighed (weighing.py) and decided (regrouping.py) with the clusters as they
are, which changes nothing. Those that would move are decided once more by the same functions between two steps of the
stream, with the overrides, and moved in one write that also records how far the command has come. So what does not move
costs the stream nothing, a batch is moved completely or not at all, and a worker that is killed continues with the next
one. What was moved can be undone as a unit (undoing.py). A dry run is the survey alone.

The stream goes first: no more than `images_per_s` are decided again, and none while much of what was decided before is
not published.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import BadCommand
from neardup_platform.matching import Matching, PairScorer
from neardup_platform.records import Decision
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.writer import Batch, Store
from neardup_platform.stream.control.command import put_progress
from neardup_platform.stream.control.interruption import Interruption
from neardup_platform.stream.control.outcome import Done, Finish, Outcome, Stage
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.redecide.demands import Demands
from neardup_platform.stream.redecide.moves import put_moves
from neardup_platform.stream.redecide.regrouping import Places, regroup
from neardup_platform.stream.redecide.rules import Rules
from neardup_platform.stream.redecide.surveying import Survey, Surveyed
from neardup_platform.stream.redecide.throttle import Throttle
from neardup_platform.stream.redecide.undoing import Undoing
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import RedecideArguments

BATCH_IMAGES = 256
# Moves named in the result.
SHOWN = 20
COUNTS = ("images", "unknown", "searched", "kept_heads", "overridden", "skipped", "moved", "founded")

Load = Callable[[str], tuple[PairScorer, Matching]]
Fetch = Callable[[str], tuple[list[str], bytes]]


@dataclass(slots=True)
class _Job:
    """A command in progress.

    Attributes:
        checksum: of the selection.
        moved: decisions of a dry run, the first ones.
    """

    command: pb.Command
    arguments: RedecideArguments
    rules: Rules
    survey: Survey
    image_ids: Sequence[str]
    checksum: bytes
    throttle: Throttle
    moved: list[Decision] = field(default_factory=list)


class Redecide:
    """The handler.

    Args:
        load: loads a classifier by version, with the limits and thresholds that apply with it.
        fetch: reads a selection.
        has_room: whether more may be decided: most of what was decided before is published.
        batch_images: of a batch.
    """

    def __init__(
        self,
        store: Store,
        redeciding: Redeciding,
        load: Load,
        fetch: Fetch,
        has_room: Callable[[], bool],
        clock: Clock,
        batch_images: int = BATCH_IMAGES,
    ) -> None:
        self._batch_images = batch_images
        self._store, self._redeciding = store, redeciding
        self._load, self._fetch, self._has_room, self._clock = load, fetch, has_room, clock
        self._interruption = Interruption()
        self._undoing = Undoing(store, redeciding, clock, self._throttle, batch_images)

    def interrupt(self) -> None:
        """See `Interruptible`."""
        self._interruption.interrupt()

    def __call__(self, command: pb.Command, arguments: RedecideArguments) -> Finish:
        """Read the selection and load the classifier; see `Handler`."""
        self._interruption.clear()
        if arguments.selection is None:
            return self._undoing.begin(command, arguments)
        rules = self._rules(arguments)
        image_ids, checksum = self._fetch(arguments.selection)
        pipeline, copied = self._redeciding.pipeline, Overrides(self._store.overrides.all())
        survey = Survey(self._store, pipeline, rules, Demands(copied, self._store, pipeline.corpus))
        throttle = self._throttle(arguments.images_per_s)
        job = _Job(command, arguments, rules, survey, image_ids, checksum, throttle)
        progress = self._progress(job)
        return self._try(job, progress) if arguments.dry_run else self._survey_next(job, progress)

    def _throttle(self, images_per_s: int) -> Throttle:
        return Throttle(images_per_s, self._has_room, self._interruption, self._clock)

    def _rules(self, arguments: RedecideArguments) -> Rules:
        pipeline = self._redeciding.pipeline
        scorer, matching = pipeline.scorer, pipeline.matching
        if arguments.classifier is not None and arguments.classifier != scorer.version:
            scorer, matching = self._load(arguments.classifier)
        return Rules.of(scorer, matching, pipeline.space.version, arguments.threshold, arguments.head_threshold)

    def _progress(self, job: _Job) -> store_pb.CommandProgress:
        found = self._store.commands.progress(job.command.command_id)
        if found is None:
            return store_pb.CommandProgress(of=job.checksum, counts={"clusters_before": self._store.state().clusters})
        if found.of != job.checksum:
            raise BadCommand(
                f"its selection was replaced on S3 after {found.done} images were decided again: send another command"
            )
        return found

    def _try(self, job: _Job, progress: store_pb.CommandProgress) -> Finish:
        """Survey all batches, each with what the earlier ones would move in place."""
        places = Places(self._redeciding.pipeline.corpus)
        while (ids := self._next_ids(job, progress)) is not None:
            surveyed = job.survey.of(ids, places, self._clock.now_ms())
            self._count(progress, ids, surveyed, surveyed.regrouped.moved)
            job.moved += surveyed.regrouped.moved[: SHOWN - len(job.moved)]
        clusters = int(progress.counts["clusters_before"]) + places.clusters_more
        return partial(self._done, job, progress, clusters)

    def _survey_next(self, job: _Job, progress: store_pb.CommandProgress) -> Finish:
        """Prepare a stage."""
        ids = self._next_ids(job, progress)
        if ids is None:
            return partial(self._done, job, progress)
        surveyed = job.survey.of(ids, Places(self._redeciding.pipeline.corpus), self._clock.now_ms())
        return partial(self._move, job, progress, ids, surveyed)

    def _next_ids(self, job: _Job, progress: store_pb.CommandProgress) -> Sequence[str] | None:
        """The next batch, once there is room for it; None after the last."""
        ids = job.image_ids[progress.done : progress.done + self._batch_images]
        if not ids:
            return None
        job.throttle.wait_for(len(ids))
        return ids

    def _move(self, job: _Job, progress: store_pb.CommandProgress, ids: Sequence[str], surveyed: Surveyed) -> Stage:
        """Decide the movers of a batch once more, as things are now, and move them."""
        pipeline, now_ms = self._redeciding.pipeline, self._clock.now_ms()
        records = dict(zip(ids, self._store.images.find_many(list(ids)), strict=True))
        current = [
            image
            for image in surveyed.movers
            if (record := records[image.image_id]) is not None and record.sequence == image.recorded.sequence
        ]
        demands = Demands(self._redeciding.overrides, self._store, pipeline.corpus)
        moved = regroup(current, Places(pipeline.corpus), pipeline.corpus, job.rules, demands, now_ms).moved
        plan = Rearrangement(self._store, now_ms, job.command.command_id)
        plan.depart([decision.image_id for decision in moved])
        for decision in moved:
            labels = self._redeciding.labels.of(decision)
            plan.place(replace(decision, sequence=plan.next_sequence, labels=labels))
        change = plan.complete()
        after = store_pb.CommandProgress(done=progress.done, of=progress.of, counts=progress.counts)
        after.counts["skipped"] += len(surveyed.movers) - len(current)
        self._count(after, ids, surveyed, moved)

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            before = {image_id: record for image_id, record in records.items() if record is not None}
            put_moves(batch, self._store, job.command.command_id, change.decisions, before)
            change.write(batch, state)
            put_progress(batch, job.command.command_id, after)

        return Stage(
            partial(self._survey_next, job, after),
            write,
            decisions=change.decisions,
            apply=partial(pipeline.corpus.follow, change.steps),
            counts={"redecided": surveyed.known},
        )

    def _count(
        self, progress: store_pb.CommandProgress, ids: Sequence[str], surveyed: Surveyed, moved: Sequence[Decision]
    ) -> None:
        counts = {
            "images": surveyed.known,
            "unknown": len(ids) - surveyed.known,
            "searched": surveyed.searched,
            "kept_heads": surveyed.regrouped.kept,
            "overridden": surveyed.regrouped.held,
            "moved": len(moved),
            "founded": sum(decision.founded for decision in moved),
        }
        progress.done += len(ids)
        for name, count in counts.items():
            progress.counts[name] += count

    def _done(self, job: _Job, progress: store_pb.CommandProgress, clusters: int | None = None) -> Outcome:
        state, matching = self._store.state(), job.rules.matcher.matching
        by_size = matching.table is not None
        values = {
            "dry_run": str(job.arguments.dry_run).lower(),
            **{name: str(progress.counts[name]) for name in (*COUNTS, "clusters_before")},
            "clusters": str(state.clusters if clusters is None else clusters),
            "store_images": str(state.images),
            "classifier": job.rules.version,
            "thresholds": "by corpus size" if by_size else f"{matching.threshold:g}, head {matching.head_threshold:g}",
            "digest": state.digest.hex(),
            "examples": json.dumps(self._examples(job)),
        }
        return Done(values)

    def _examples(self, job: _Job) -> list[dict[str, str]]:
        if job.arguments.dry_run:
            heads = {d.image_id: self._store.images.find(d.image_id) for d in job.moved}
            return [
                {"image_id": d.image_id, "from": record.head, "to": d.head}
                for d in job.moved
                if (record := heads[d.image_id]) is not None
            ]
        moves = zip(self._store.commands.moves(job.command.command_id), range(SHOWN), strict=False)
        shown = [(move, self._store.images.find(move.image_id)) for (_, move), _ in moves]
        return [
            {"image_id": move.image_id, "from": move.head_before, "to": record.head}
            for move, record in shown
            if record is not None
        ]
