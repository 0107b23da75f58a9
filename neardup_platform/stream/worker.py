"""The stream worker: one loop that reads, decides, commits and publishes, until told to stop.

A turn of the loop is `Worker.turn`; what a step changes and in which order is `commit.py`. While a large step's images
are compared in a thread, more is read and those of the steps before are settled and committed: comparing looks at
nothing that settling changes. State in memory (corpus, waiting room) is derived from the store, so any error ends the
process and a new one starts from the store.
"""

import logging
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from neardup_platform.clusters.overrides import Overrides
from neardup_platform.id_space import id_space
from neardup_platform.join.clock import JoinClocks
from neardup_platform.kafka.outage import OutageNotice
from neardup_platform.kafka.publisher import KafkaPublisher, Settled
from neardup_platform.kafka.retention import deleted_since
from neardup_platform.kafka.source import KafkaSource
from neardup_platform.learning.classifier.keras_active_classifier import active_folder, load_active_classifier
from neardup_platform.matching import Matching, Scored
from neardup_platform.pipeline import Added, Decided, Pipeline
from neardup_platform.progress import Progress, no_progress
from neardup_platform.records import JoinedImage
from neardup_platform.scoring.card import read_card
from neardup_platform.scoring.keras_classifier import PairClassifier, limit_tensorflow_threads
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import Step, commit
from neardup_platform.stream.control import pause
from neardup_platform.stream.control.command import Outcome
from neardup_platform.stream.control.control import Control
from neardup_platform.stream.corrections import forget, override
from neardup_platform.stream.corrections.deciding_again import DecidingAgain
from neardup_platform.stream.corrections.re_embedding import decide_newer, vacate
from neardup_platform.stream.crash_points import CrashPoint, CrashPoints
from neardup_platform.stream.intake import Intake
from neardup_platform.stream.metrics import Figures
from neardup_platform.stream.models import load_model
from neardup_platform.stream.outbox import Outbox
from neardup_platform.stream.outbox_entries import requeue_kept
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.stream.reprocess import reprocess
from neardup_platform.stream.reprocess.replay import stored_image
from neardup_platform.stream.reprocess.reprocess_process import RemoteReprocessing
from neardup_platform.stream.segments import ingest_segment
from neardup_platform.stream.snapshots import restore, snapshot
from neardup_platform.stream.trace import trace
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.terms.index import open_index
from neardup_platform.terms.rate_limiter import SearchLimiter
from neardup_platform.wire.topics import CONTROL

log = logging.getLogger(__name__)

CLOSE_S = 5.0
# Steps of fewer images are compared in the turn that reads them: to hand them to a thread and wait for it takes longer
# than what it would hide.
APART_IMAGES = 16
# Steps that may be compared, or wait for it, while more is read; see worker.max_batch_images.
STEPS_UNDER_WAY = 3
# Of these so many are compared at once: while one waits for the slower of the threads that share it, the other goes on.
COMPARED_AT_ONCE = 2
# Known images decided again in one turn, each in a write of its own; those left wait for the next turn.
MOST_DECIDED_AGAIN = 32
# What the broker acknowledged is written with the next step; alone after so long, or from so many messages on.
ACKNOWLEDGED_ALONE_S = 1.0
ACKNOWLEDGED_ALONE = 5_000

# Commands that are handled ahead of those that take long. What each does to a store under construction, and what the
# long ones do about it, is in docs/adr/0016.
PROMPT = frozenset({pause.PAUSE, pause.RESUME, override.NAME, forget.NAME, trace.NAME})
# Commands handled in one turn.
MOST_COMMANDS = 64

Comparing = tuple[Added, "Future[Scored]"]


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A step whose images are being compared."""

    step: Step
    comparing: Sequence[Comparing]

    @property
    def is_compared(self) -> bool:
        """Whether nothing has to be waited for to finish it."""
        return all(scored.done() for _, scored in self.comparing)


class Worker:
    """Everything a step needs, opened and consistent with one another."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        source: KafkaSource,
        publisher: KafkaPublisher,
        outages: OutageNotice,
        clocks: JoinClocks,
        progress: Progress = no_progress,
    ) -> None:
        self._crash = CrashPoints.of_environment()
        limit_tensorflow_threads(settings.scoring.threads)
        space = load_term_space(settings.terms.space)
        progress("loading the classifier", 0, 0)
        scorer = load_active_classifier(settings, store.state().classifier_version)
        corpus = rebuild_corpus(
            store,
            space,
            scorer.required_models,
            lambda source: open_index(settings.index_path, space, settings.terms, source, progress=progress),
            settings.vectors_path,
            progress,
        )
        self._crash.passing(CrashPoint.RESTORED)
        self._settings = settings
        self._store = store
        self._source = source
        self._outages = outages
        self._clocks = clocks
        self._state = store.state()
        self._pipeline = Pipeline(space, scorer, corpus, Matching.of(settings, scorer))
        self._intake = Intake(
            settings.join,
            scorer.required_models,
            source.partitions,
            store.unpaired.all(),
            lambda image_id: store.images.find(image_id) is not None,
            store.positions.clocks_ms(),
            lambda image_id: stored_image(store, image_id),
            lambda image_id: store.images.forgotten_upto_ms(image_id) if self._state.forgotten else 0,
        )
        self._again = DecidingAgain(store, self._pipeline, Overrides(store.overrides.all()))
        restoring = restore.Restore(
            settings,
            store,
            space.version,
            lambda: self.classifier_version,
            read_card(active_folder(settings, "")).version,
            partial(load_model.check_loadable, settings, scorer.card),
            partial(deleted_since, settings.kafka),
        )
        overriding = override.Override(self._again)
        # What the worker can be told to do: a line for each command.
        self._control = Control(
            {
                load_model.NAME: load_model.LoadModel(settings, scorer, self._swap),
                ingest_segment.NAME: ingest_segment.IngestSegment(
                    settings,
                    store,
                    lambda: self._pipeline,
                    scorer.required_models,
                    lambda: not self._outbox.full,
                ),
                pause.PAUSE: pause.Pause(store.state),
                pause.RESUME: pause.Resume(store.state),
                snapshot.NAME: snapshot.Snapshot(settings, store, lambda: self.classifier_version),
                reprocess.NAME: reprocess.Reprocess(
                    settings, store, lambda: self._pipeline, partial(RemoteReprocessing, settings)
                ),
                restore.NAME: restoring,
                override.NAME: overriding,
                forget.NAME: forget.Forget(store, self._again, self._intake.forget, restoring.forgotten),
                trace.NAME: trace.Trace(store, lambda: self._pipeline),
            },
            store.commands.find,
            store.commands.progress,
            PROMPT,
            store.commands.read_offset,
            store.commands.handled_ahead().of.decode(),
        )
        self._figures = Figures()
        self._gate = SearchLimiter(settings.terms.max_queries_per_s, settings.terms.max_waiting_queries)
        self._outbox = self._open_outbox(publisher)
        self._crash.passing(CrashPoint.REPUBLISHED)
        self._comparing = ThreadPoolExecutor(COMPARED_AT_ONCE, "compare")
        self._under_way: deque[_UnderWay] = deque()
        self._settled: list[Settled] = []
        self._committed_at = time.monotonic()
        self._meet_overrides(overriding, progress)

    def _meet_overrides(self, overriding: override.Override, progress: Progress) -> None:
        """Apply overrides that were added while another store was active."""
        to_meet = self._store.overrides.deferred()
        for number, override_id in enumerate(to_meet):
            progress("meeting overrides", number, len(to_meet))
            outcome = overriding.meet(override_id)
            self._commit_outcome(Step(outcome=outcome), outcome)

    def _open_outbox(self, publisher: KafkaPublisher) -> Outbox:
        """Begin to publish what an earlier process has left in the outbox."""
        kept = requeue_kept(self._store, self._state)
        if kept:
            log.info("%d dead letters that Kafka refused are tried again", kept)
        first, last = max(1, self._state.outbox_first), self._state.outbox_number
        if last >= first:
            log.info("publishing %d messages left in the outbox", last - first + 1)
        power_cut = self._settings.worker.durability == "power-cut"
        outbox = Outbox(self._store, publisher, first, last, self._crash, sync=power_cut)
        outbox.start()
        return outbox

    def turn(self) -> None:
        """Obey commands, read, join and begin to compare; finish, in the order of reading, what is compared."""
        self._obey()
        self._decide_newer()
        if settled := self._outbox.settled():
            self._settled += settled
            self._crash.passing(CrashPoint.ACKNOWLEDGED)
        begun = self._begin()
        if begun is not None:
            self._under_way.append(begun)
        while self._under_way and (
            begun is None or len(self._under_way) > STEPS_UNDER_WAY or self._under_way[0].is_compared
        ):
            self._finish_one()
        overdue = time.monotonic() - self._committed_at > ACKNOWLEDGED_ALONE_S
        if self._settled and (overdue or len(self._settled) >= ACKNOWLEDGED_ALONE):
            self._commit(Step(), ())

    def _begin(self) -> "_UnderWay | None":
        """Read, join and begin to compare."""
        worker = self._settings.worker
        gives_up = self._intake.gives_up
        room = not (self._outbox.full or self._intake.holds_newer or gives_up)
        most = 2 * self._gate.batch(worker.max_batch_images)
        messages = self._source.poll(most if room else 0, 0 if self._under_way or gives_up else worker.poll_ms)
        if messages:
            self._outages.answered()
            self._crash.passing(CrashPoint.READ)
        self._control.take((message for message in messages if message.topic == CONTROL), _now_ms())
        if self._intake.holds_newer and self._stands_still:
            return None
        embeddings = [message for message in messages if message.topic != CONTROL]
        self._intake.log_is(self._source.partitions, self._source.restarted())
        step, joined = self._intake.take(embeddings, self._source.read_until(), self._clocks.now.now_ms(), _now_ms())
        if step.empty:
            return None
        self._crash.passing(CrashPoint.JOINED)
        self._gate.wait_for(len(joined))
        return _UnderWay(step, [self._compare(part) for part in self._pipeline.split(joined)])

    def _compare(self, images: Sequence[JoinedImage]) -> Comparing:
        added = self._pipeline.add(images)
        self._crash.passing(CrashPoint.ADDED)
        if len(images) >= APART_IMAGES:
            return added, self._comparing.submit(self._pipeline.compare, added)
        scored: Future[Scored] = Future()
        scored.set_result(self._pipeline.compare(added))
        return added, scored

    def _finish(self) -> None:
        """Finish all steps under way."""
        while self._under_way:
            self._finish_one()

    def _finish_one(self) -> None:
        """Decide and commit the oldest step in flight, together with what was acknowledged."""
        step = self._under_way.popleft()
        decided = self._settle(step.comparing)
        self._commit(step.step, decided)
        committed_ms = _now_ms()
        for batch in decided:
            self._figures.decided(time.monotonic(), (committed_ms - image.event_time_ms for image in batch.images))

    def _settle(self, comparing: Sequence[Comparing]) -> list[Decided]:
        sequence = self._state.sequence + 1
        compared = ((added, scored.result()) for added, scored in comparing)
        decided = self._pipeline.decide_compared(compared, sequence, _now_ms(), self._again.constraints())
        if decided:
            self._crash.passing(CrashPoint.DECIDED)
        return decided

    def _commit(self, step: Step, decided: Sequence[Decided]) -> None:
        outgoing = commit(self._store, self._state, step, decided, self._settled)
        self._settled, self._committed_at = [], time.monotonic()
        self._intake.committed(image.image_id for batch in decided for image in batch.images)
        self._source.committed(step.positions)
        self._crash.passing(CrashPoint.COMMITTED)
        self._outbox.committed(outgoing)

    def _obey(self) -> None:
        """Commit the commands that are done with, each in a write of its own, and apply them."""
        for _ in range(MOST_COMMANDS):
            ready = self._control.take_ready()
            if ready is None:
                break
            # Only now: what becomes ready later is taken the next time, when nothing is in flight either.
            self._finish()
            handled = ready.finish()
            self._crash.passing(CrashPoint.PREPARED)
            outcome = handled.outcome
            store, state = outcome.into or (self._store, self._state)
            outgoing = commit(store, state, Step.of_command(handled), outcome.decided)
            self._crash.passing(CrashPoint.PART if handled.is_part else CrashPoint.OBEYED)
            if outcome.into is not None:
                store.sync()
            outcome.apply()
            self._outbox.committed(outgoing)
            if handled.is_part:
                break
        self._source.hold_control(self._control.full)
        self._source.hold_embeddings(self._stands_still)

    def _decide_newer(self) -> None:
        """Decide known images again that have newer embeddings, each in a step of its own."""
        if not self._intake.holds_newer or self._stands_still:
            return
        self._finish()
        for _ in range(MOST_DECIDED_AGAIN):
            taken = self._intake.take_newer(max(self._clocks.now.now_ms(), _now_ms()))
            if taken is None:
                break
            step, newer = taken
            vacated = vacate(self._again, newer.image_id, _now_ms()) if isinstance(newer, JoinedImage) else None
            if vacated is not None:
                self._commit_outcome(Step(outcome=vacated), vacated)
            outcome = step.outcome = decide_newer(self._again, newer, _now_ms())
            self._commit_outcome(step, outcome)

    def _commit_outcome(self, step: Step, outcome: Outcome) -> None:
        self._commit(step, ())
        outcome.apply()

    @property
    def _stands_still(self) -> bool:
        """Whether no embedding is to be decided now, be it read from Kafka or held back since."""
        return self._state.HasField("paused") or self._control.holds

    def _swap(self, scorer: PairClassifier) -> None:
        log.info("classifier %s in place of %s", scorer.version, self._pipeline.scorer.version)
        self._pipeline.use_classifier(scorer, Matching.of(self._settings, scorer))

    @property
    def classifier_version(self) -> str:
        """Of the classifier that decides."""
        return self._pipeline.scorer.version

    def close(self) -> None:
        """Stop the threads of the outbox, the corpus and a command in progress."""
        self._outbox.close()
        self._control.close(CLOSE_S)
        self._comparing.shutdown(cancel_futures=True)
        self._pipeline.corpus.close()

    def figures(self) -> dict[str, float]:
        """Gauges and counters for the heartbeat."""
        return {
            "images": self._state.images,
            "clusters": self._state.clusters,
            **id_space(
                ordinals=self._state.ordinals,
                sequence=self._state.sequence,
                outbox_number=self._state.outbox_number,
                commands=self._state.commands,
            ),
            **self._intake.figures(self._clocks.now.now_ms()),
            "idle_clock_behind_ms": self._clocks.behind_ms(),
            "paused": int(self._state.HasField("paused")),
            "purge_problem": int(bool(self._store.purge_problem)),
            "overrides": len(self._again.overrides),
            "commands_waiting": self._control.waiting,
            **self._outbox.figures(),
            **self._source.metrics(),
            **self._figures.snapshot(time.monotonic()),
            **self._gate.metrics(),
            **self._pipeline.corpus.index.metrics(),
            **{fate: float(count) for fate, count in sorted(self._state.counters.items())},
        }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
