"""The stream worker: one loop that reads, decides, commits and publishes.

One pass of the loop is `Worker.turn`; what a step changes, and in which order, is in `commit.py`. While the images of a
large step are compared in a thread, the worker reads more, and decides and commits the steps before. State in memory
(corpus, waiting room) follows from the store, so any error ends the process and a new one starts from the store.
`assembly.py` opens what the worker runs on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from neardup_platform.clock import Clock
from neardup_platform.id_space import id_space
from neardup_platform.join.clock import JoinClocks
from neardup_platform.kafka.outage import OutageNotice
from neardup_platform.kafka.publisher import Settled
from neardup_platform.kafka.source import KafkaSource
from neardup_platform.pipeline import Decided, Pipeline
from neardup_platform.records import JoinedImage
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.shadow import current_shadow
from neardup_platform.store.writer import Store
from neardup_platform.stream.checkpointing import Checkpointing
from neardup_platform.stream.commit import commit
from neardup_platform.stream.comparing import StepInFlight, StepsInFlight
from neardup_platform.stream.control.control import Control
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Done, ReplaceStore, Stage
from neardup_platform.stream.corrections.re_embedding import decide_newer, vacate
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.crash_points import CrashPoint, CrashPoints
from neardup_platform.stream.intake import Intake
from neardup_platform.stream.metrics import StreamMetrics
from neardup_platform.stream.outbox import Outbox
from neardup_platform.stream.steps import CommandStep, RedecideStep, Step, StreamStep
from neardup_platform.terms.rate_limiter import SearchLimiter
from neardup_platform.wire.codec import Message
from neardup_platform.wire.topics import CONTROL

# Known images decided again in one turn, each in a write of its own; the next turn continues.
MOST_REDECIDED = 32
# What the broker acknowledged is written with the next step; or alone, after this long or from this many messages on.
ACKNOWLEDGED_ALONE_S = 1.0
ACKNOWLEDGED_ALONE = 5_000
# How long a step that is being compared is left alone, because a command may have more images to compare beside it.
STAGE_S = 0.005
# Commands handled in one turn.
MOST_COMMANDS = 64


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """Everything a worker runs on, open and consistent.

    Attributes:
        state: totals of the store, kept up to date by every commit.
        join_clocks: the clocks of the join.
        corrections: decides known images again.
        checkpoints: saves the corpus for the next start.
        rate_limiter: bounds the searches per second.
    """

    settings: Settings
    clock: Clock
    store: Store
    state: store_pb.StoreState
    source: KafkaSource
    outages: OutageNotice
    join_clocks: JoinClocks
    intake: Intake
    pipeline: Pipeline
    corrections: Redeciding
    control: Control
    outbox: Outbox
    checkpoints: Checkpointing
    steps: StepsInFlight
    rate_limiter: SearchLimiter
    crash: CrashPoints


class Worker:
    """Runs on its parts; `open_worker` opens and closes them."""

    def __init__(self, parts: WorkerParts) -> None:
        self._parts = parts
        self._clock, self._crash = parts.clock, parts.crash
        self._store, self._state = parts.store, parts.state
        self._corpus = parts.pipeline.corpus
        self._source, self._intake = parts.source, parts.intake
        self._control, self._outbox, self._steps = parts.control, parts.outbox, parts.steps
        self._metrics = StreamMetrics()
        self._settled: list[Settled] = []
        self._committed_s = parts.clock.monotonic_s()

    def turn(self) -> ReplaceStore | None:
        """Apply pending commands, start comparing the next batch, and commit compared batches in read order.

        Returns:
            Another store, where a command has put one in place of this one: the worker has to be opened again.
        """
        replaced = self._apply_commands()
        if replaced is not None:
            return replaced
        self._redecide_newer()
        if settled := self._outbox.settled():
            self._settled += settled
            self._crash.passing(CrashPoint.ACKNOWLEDGED)
        started = self._start_step() or self._control.decides_within(STAGE_S)
        while self._steps and (not started or self._steps.full or self._steps.first_is_compared):
            self._finish_step()
        overdue = self._clock.monotonic_s() - self._committed_s > ACKNOWLEDGED_ALONE_S
        if self._settled and (overdue or len(self._settled) >= ACKNOWLEDGED_ALONE):
            self._commit(StreamStep())
        self._parts.checkpoints.turn(self._state)
        return None

    def _apply_commands(self) -> ReplaceStore | None:
        """Commit the commands that are ready, each in a write of its own, and apply them in memory."""
        for _ in range(MOST_COMMANDS):
            ready = self._control.take_ready()
            if ready is None:
                break
            # Only now, so that a command that becomes ready later waits until nothing is in flight again.
            if not ready.overlaps:
                self._finish_steps()
            handled = ready.finish()
            self._crash.passing(CrashPoint.PREPARED)
            if isinstance(handled.outcome, Stage) and handled.outcome.images is not None:
                self._start_stage(handled, handled.outcome)
                break
            self._finish_steps()
            outcome, step = handled.outcome, CommandStep(handled)
            if isinstance(outcome, ReplaceStore):
                self._corpus.erase_dropped()
                self._replace_store(outcome, step)
                return outcome
            outgoing = commit(self._store, self._state, step, self._clock.now_ms())
            self._crash.passing(CrashPoint.STAGE_COMMITTED if handled.is_stage else CrashPoint.COMMAND_COMMITTED)
            if isinstance(outcome, Done | Stage):
                outcome.apply()
            if isinstance(outcome, Stage):
                self._control.start_next(outcome)
            self._outbox.committed(outgoing)
            if handled.is_stage:
                break
        self._corpus.erase_dropped()
        self._source.hold_control(self._control.full)
        self._source.hold_embeddings(self._stands_still)
        return None

    def _start_stage(self, handled: Handled, stage: Stage) -> None:
        """Start comparing the images of a stage, which is committed when it is its turn, and prepare the next one."""
        self._intake.started(stage.images or ())
        self._steps.start_stage(handled, stage.images or ())
        self._control.start_next(stage)
        while self._steps.full:
            self._finish_step()

    def _replace_store(self, outcome: ReplaceStore, step: CommandStep) -> None:
        """Commit a command's result to the store that replaces this one, and decide the exchange."""
        commit(outcome.store, outcome.state, step, self._clock.now_ms())
        self._crash.passing(CrashPoint.COMMAND_COMMITTED)
        outcome.store.sync()
        outcome.swap()

    def _redecide_newer(self) -> None:
        """Decide known images again that have newer embeddings, each in a step of its own."""
        if not self._intake.holds_newer or self._stands_still:
            return
        self._finish_steps()
        for _ in range(MOST_REDECIDED):
            taken = self._intake.take_newer(max(self._parts.join_clocks.now.now_ms(), self._clock.now_ms()))
            if taken is None:
                break
            consumed, newer = taken
            if isinstance(newer, JoinedImage):
                vacated = vacate(self._parts.corrections, newer.image_id, self._clock.now_ms())
                if vacated is not None:
                    self._commit(RedecideStep(vacated.write, vacated.decisions))
                    self._corpus.follow(vacated.steps)
            change = decide_newer(self._parts.corrections, newer, self._clock.now_ms())
            self._commit(RedecideStep(change.write, change.decisions, consumed=consumed))
            self._corpus.follow(change.steps)
        self._corpus.erase_dropped()

    def _start_step(self) -> bool:
        """Read and join messages, and start comparing the images they complete; returns whether there was anything."""
        messages = self._read()
        self._control.take(message for message in messages if message.topic == CONTROL)
        if self._intake.holds_newer and self._stands_still:
            return False
        embeddings = [message for message in messages if message.topic != CONTROL]
        self._intake.update_log(self._source.partitions, self._source.restarted())
        now_ms, wall_ms = self._parts.join_clocks.now.now_ms(), self._clock.now_ms()
        consumed, joined = self._intake.take(embeddings, self._source.read_until(), now_ms, wall_ms)
        if consumed.empty:
            return False
        self._crash.passing(CrashPoint.JOINED)
        self._parts.rate_limiter.wait_for(len(joined))
        self._steps.start(consumed, joined)
        return True

    def _read(self) -> Sequence[Message]:
        """Read the next messages, no embeddings among them where there is no room for them."""
        settings, gives_up = self._parts.settings.worker, self._intake.gives_up
        has_room = not (self._outbox.full or self._intake.holds_newer or gives_up)
        most = 2 * self._parts.rate_limiter.batch(settings.max_batch_images) if has_room else 0
        at_once = self._steps or gives_up or self._control.decides
        messages = self._source.poll(most, 0 if at_once else settings.poll_ms)
        if messages:
            self._parts.outages.answered()
            self._crash.passing(CrashPoint.READ)
        return messages

    def _finish_steps(self) -> None:
        """Decide and commit all steps in flight."""
        while self._steps:
            self._finish_step()

    def _finish_step(self) -> None:
        """Decide and commit the oldest step in flight."""
        step = self._steps.take_first()
        decided = self._decide(step)
        if step.stage is not None:
            self._commit(CommandStep(step.stage.with_decided(decided)))
            return
        self._commit(StreamStep(step.consumed, decided))
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        for batch in decided:
            self._metrics.decided(now_s, (now_ms - image.event_time_ms for image in batch.images))

    def _decide(self, step: StepInFlight) -> Sequence[Decided]:
        constraints = self._parts.corrections.constraints()
        decided = self._parts.pipeline.decide_compared(
            step.compared(), self._state.sequence + 1, self._clock.now_ms(), constraints
        )
        if decided:
            self._crash.passing(CrashPoint.DECIDED)
        return decided

    def _commit(self, step: Step) -> None:
        """Commit a step, together with what the broker acknowledged."""
        outgoing = commit(self._store, self._state, step, self._clock.now_ms(), self._settled)
        self._settled, self._committed_s = [], self._clock.monotonic_s()
        self._intake.committed(image.image_id for batch in step.decided for image in batch.images)
        if isinstance(step, CommandStep):
            self._crash.passing(CrashPoint.STAGE_COMMITTED)
        else:
            self._source.committed(step.consumed.positions)
            self._crash.passing(CrashPoint.COMMITTED)
        self._outbox.committed(outgoing)

    @property
    def _stands_still(self) -> bool:
        """Whether no embedding may be decided now, neither a new one nor one held back."""
        return self._state.HasField("paused") or self._control.holds

    @property
    def classifier_version(self) -> str:
        """The version of the active classifier."""
        return self._parts.pipeline.scorer.version

    @property
    def doing(self) -> str:
        """What a long command does now, in words; empty for none."""
        return self._control.doing

    def metrics(self) -> dict[str, float]:
        """Gauges and counters for the heartbeat."""
        state, join_clocks = self._state, self._parts.join_clocks
        return {
            "images": state.images,
            "clusters": state.clusters,
            **id_space(
                ordinals=state.ordinals,
                sequence=state.sequence,
                outbox_number=state.outbox_number,
                commands=state.commands,
            ),
            **self._intake.metrics(join_clocks.now.now_ms()),
            "idle_clock_behind_ms": join_clocks.behind_ms(),
            "paused": int(state.HasField("paused")),
            **_shadow_metrics(state),
            "purge_problem": int(bool(self._store.purge_problem)),
            "overrides": len(self._parts.corrections.overrides),
            "labels": len(self._parts.corrections.labels),
            "hashes": len(self._parts.corrections.labels.hashes),
            "commands_waiting": self._control.waiting,
            **self._outbox.metrics(),
            **self._source.metrics(),
            **self._metrics.metrics(self._clock.monotonic_s()),
            **self._parts.rate_limiter.metrics(),
            **self._corpus.index.metrics(),
            **{fate: float(count) for fate, count in sorted(state.counters.items())},
        }


def _shadow_metrics(state: store_pb.StoreState) -> dict[str, float]:
    shadow = current_shadow(state)
    since_ms, withheld = (0, 0) if shadow is None else (shadow.since_ms, shadow.withheld)
    return {"shadow": int(shadow is not None), "shadow_since_ms": since_ms, "withheld": withheld}
