"""Opens everything a worker runs on, in order: store, log, classifier, corpus, outbox, commands."""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.corpus import Corpus
from neardup_platform.join.clock import JoinClocks
from neardup_platform.kafka.outage import watch_outages
from neardup_platform.kafka.publisher import KafkaPublisher
from neardup_platform.kafka.source import KafkaSource, wait_for_source
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.progress import Progress
from neardup_platform.settings import Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.cells import recorded_cells
from neardup_platform.store.swap import complete_swap
from neardup_platform.store.writer import Store
from neardup_platform.stream.built_files import adopt, remove_unfinished
from neardup_platform.stream.cells.note_cells import note_cells
from neardup_platform.stream.checkpointing import Checkpointing
from neardup_platform.stream.commands import CommandContext, make_restore, registered_commands
from neardup_platform.stream.commit import commit
from neardup_platform.stream.comparing import StepsInFlight
from neardup_platform.stream.control.control import Control
from neardup_platform.stream.corrections.deferred_overrides import deferred_overrides, deferred_step
from neardup_platform.stream.corrections.override import Override
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.crash_points import CrashPoint, CrashPoints
from neardup_platform.stream.handover.shadow import begin_by_settings
from neardup_platform.stream.intake import Intake
from neardup_platform.stream.known_images import StoredImages
from neardup_platform.stream.liveness import Liveness
from neardup_platform.stream.models.keras_classifiers import Classifier, Classifiers, KerasClassifiers
from neardup_platform.stream.outbox import Outbox
from neardup_platform.stream.outbox_entries import requeue_kept
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.stream.worker import Worker, WorkerParts
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.inherit_segments import inherit_segments
from neardup_platform.terms.opening import load_search_space, open_index
from neardup_platform.terms.rate_limiter import SearchLimiter

log = logging.getLogger(__name__)

BROKER_PATIENCE_S = 3_600.0
_CLOSE_S = 5.0

MakeClassifiers = Callable[[Settings], Classifiers]


@contextmanager
def open_worker(
    settings: Settings,
    clock: Clock,
    liveness: Liveness,
    make_classifiers: MakeClassifiers = KerasClassifiers,
) -> Iterator[Worker]:
    """Open a worker over the active store; everything is closed when the block ends.

    Args:
        settings: with the addresses of Kafka filled in.
        liveness: shows how far the start has come.

    Raises:
        NeardupError: something cannot be opened, or does not fit the rest.
    """
    liveness.starting("opening the store", 0, 0)
    with ExitStack() as stack:
        complete_swap(settings.store_path)
        remove_unfinished(settings.home)
        store = stack.enter_context(closing(Store(settings.store_path)))
        if settings.worker.shadow:
            begin_by_settings(store, clock.now_ms())
        parts = _open_parts(stack, settings, clock, store, liveness, make_classifiers)
        _apply_deferred_overrides(parts, liveness.starting)
        # What was read at the start stays; searching it for garbage would stop the stream for tens of milliseconds.
        gc.collect()
        gc.freeze()
        yield Worker(parts)
        # Not after an error: the corpus may lack what was committed last.
        parts.checkpoints.stop(parts.state)


def _open_parts(
    stack: ExitStack,
    settings: Settings,
    clock: Clock,
    store: Store,
    liveness: Liveness,
    make_classifiers: MakeClassifiers,
) -> WorkerParts:
    """Open what a worker runs on; the stack closes it in reverse order."""
    outages, crash, state = watch_outages(), CrashPoints.of_environment(), store.state()
    join_clocks = JoinClocks.start(clock, max(store.positions.clocks_ms().values(), default=0))
    source = _open_source(settings, store, join_clocks, liveness)
    stack.callback(source.close)
    publisher = KafkaPublisher(settings.kafka, clock)
    stack.callback(publisher.close, _CLOSE_S)
    classifiers = make_classifiers(settings)
    liveness.starting("loading the classifier", 0, 0)
    classifier = classifiers.load_active(state.classifier_version)
    space = load_search_space(settings, recorded_cells(state))
    corpus = _open_corpus(settings, store, space, classifier, liveness.starting)
    # The index in use, which `use-cells` may replace.
    stack.callback(corpus.close)
    note_cells(store, space.fitted_version, clock.now_ms())
    state = store.state()
    crash.passing(CrashPoint.RESTORED)
    checkpoints = Checkpointing(store, corpus, settings.vectors_path, state)
    stack.callback(checkpoints.close)
    pipeline = Pipeline(space, classifier, corpus, Matching.of(settings, classifier))
    steps = stack.enter_context(closing(StepsInFlight(pipeline, crash)))
    intake = _open_intake(settings, store, state, classifier, source)
    corrections = Redeciding(store, pipeline, Overrides(store.overrides.all()))
    outbox = _make_outbox(settings, clock, store, state, publisher, crash)
    restore = make_restore(settings, store, pipeline, classifier, clock)
    context = CommandContext(
        settings, clock, store, pipeline, classifier, classifiers, corrections, intake, outbox, restore
    )
    control = Control(registered_commands(context), store.commands, clock)
    stack.callback(control.close, _CLOSE_S)
    outbox.start()
    stack.callback(outbox.close)
    crash.passing(CrashPoint.REPUBLISHED)
    return WorkerParts(
        settings=settings,
        clock=clock,
        store=store,
        state=state,
        source=source,
        outages=outages,
        join_clocks=join_clocks,
        intake=intake,
        pipeline=pipeline,
        corrections=corrections,
        control=control,
        outbox=outbox,
        checkpoints=checkpoints,
        steps=steps,
        rate_limiter=SearchLimiter(settings.terms.max_queries_per_s, settings.terms.max_waiting_queries),
        crash=crash,
    )


def _open_source(settings: Settings, store: Store, join_clocks: JoinClocks, liveness: Liveness) -> KafkaSource:
    return wait_for_source(
        settings.kafka,
        store.state().store_id,
        store.positions.next_offsets(),
        BROKER_PATIENCE_S,
        liveness.waiting_for_kafka,
        store.positions.logs(),
        join_clocks.idle.now_ms,
    )


def _open_corpus(
    settings: Settings, store: Store, space: TermSpace, classifier: Classifier, progress: Progress
) -> Corpus:
    open_terms = partial(_open_index, settings, space, progress)
    inherit_terms = partial(inherit_segments, settings.index_path, space.index_version)
    models, vectors_path = classifier.required_models, settings.vectors_path
    adopt(settings.store_path, store.state().store_id, models, vectors_path, space.index_version, settings.index_path)
    return rebuild_corpus(store, space, models, open_terms, vectors_path, progress, inherit_terms, settings.loads_path)


def _open_index(settings: Settings, space: TermSpace, progress: Progress, source: str) -> TermIndex:
    return open_index(settings.index_path, space, settings.terms, source, progress=progress)


def _open_intake(
    settings: Settings, store: Store, state: store_pb.StoreState, classifier: Classifier, source: KafkaSource
) -> Intake:
    images = StoredImages(store, state)
    return Intake(
        settings.join,
        classifier.required_models,
        source.partitions,
        store.unpaired.all(),
        images.is_known,
        store.positions.clocks_ms(),
        images.embeddings,
        images.forgotten_upto_ms,
    )


def _make_outbox(
    settings: Settings,
    clock: Clock,
    store: Store,
    state: store_pb.StoreState,
    publisher: KafkaPublisher,
    crash: CrashPoints,
) -> Outbox:
    """The outbox with what an earlier process left in it."""
    kept = requeue_kept(store, state)
    if kept:
        log.info("%d dead letters that Kafka refused are tried again", kept)
    first, last = max(1, state.outbox_first), state.outbox_number
    if last >= first:
        log.info("publishing %d messages left in the outbox", last - first + 1)
    power_cut = settings.worker.durability == "power-cut"
    return Outbox(store, publisher, first, last, crash, clock, sync=power_cut)


def _apply_deferred_overrides(parts: WorkerParts, progress: Progress) -> None:
    """Apply overrides that were added while another store was active."""
    override = Override(parts.corrections, parts.clock)
    deferred = deferred_overrides(parts.store)
    for number, override_id in enumerate(deferred):
        progress("applying overrides", number, len(deferred))
        change = override.apply_again(override_id)
        outgoing = commit(parts.store, parts.state, deferred_step(change, override_id), parts.clock.now_ms())
        parts.crash.passing(CrashPoint.COMMITTED)
        parts.pipeline.corpus.follow(change.steps)
        parts.pipeline.corpus.erase_dropped()
        parts.outbox.committed(outgoing)
