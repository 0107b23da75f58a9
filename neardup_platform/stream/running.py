"""A stream worker from start to end: what it opens, its signs of life, and when it stops.

A store that a command has replaced is opened by the same process, which so need not import TensorFlow again.
"""

import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

from neardup_platform.join.clock import JoinClocks
from neardup_platform.kafka.outage import watch_outages
from neardup_platform.kafka.publisher import KafkaPublisher
from neardup_platform.kafka.source import wait_for_source
from neardup_platform.settings import Settings
from neardup_platform.store.swap import StoreReplaced, complete_swap
from neardup_platform.store.writer import Store
from neardup_platform.stream.worker import CLOSE_S, Worker
from neardup_platform.supervise.heartbeat import Heartbeat, Phase, paused_by, write_heartbeat

log = logging.getLogger(__name__)

BROKER_PATIENCE_S = 3_600.0

Report = Callable[[dict[str, float]], None]


def run_worker(settings: Settings, stop: threading.Event, report: Report) -> None:
    """Run until `stop` is set or an operator pauses the worker.

    Args:
        settings: with the addresses of Kafka filled in.
        stop: set from a signal handler or another thread; the step under way is finished first.
        report: called with the figures every `worker.report_s` seconds.

    Raises:
        NeardupError: the process cannot go on; a new one starts from the store.
    """
    while True:
        try:
            return _run_over_one_store(settings, stop, report)
        except StoreReplaced as replaced:
            log.info("%s", replaced)


def _run_over_one_store(settings: Settings, stop: threading.Event, report: Report) -> None:
    beat = _Heart(settings)
    beat.starting("opening the store", 0, 0)
    outages = watch_outages()
    with ExitStack() as stack:
        complete_swap(settings.store_path)
        store = stack.enter_context(closing(Store(settings.store_path)))
        clocks = JoinClocks.begin(max(store.positions.clocks_ms().values(), default=0))
        source = wait_for_source(
            settings.kafka,
            store.state().store_id,
            store.positions.next_offsets(),
            BROKER_PATIENCE_S,
            lambda: beat.starting("waiting for Kafka", 0, 0),
            store.positions.logs(),
            clocks.idle.now_ms,
        )
        stack.callback(source.close)
        publisher = KafkaPublisher(settings.kafka)
        stack.callback(publisher.close, CLOSE_S)
        worker = Worker(settings, store, source, publisher, outages, clocks, beat.starting)
        stack.callback(worker.close)
        # What was read at the start stays; searching it for garbage would stop the stream for tens of milliseconds.
        gc.collect()
        gc.freeze()
        log.info("worker ready: %s", worker.figures())
        beat.begin()
        while not stop.is_set() and not beat.due(worker, report):
            worker.turn()
        beat.alive(Phase.STOPPED, worker.figures(), worker.classifier_version)


class _Heart:
    """Writes the heartbeat every `heartbeat_s` and calls the report every `report_s`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started_ms = _now_ms()
        self._beat_at = self._report_at = 0.0
        self._doing = ""
        self._telling = threading.Lock()

    def starting(self, doing: str, done: int, of: int) -> None:
        """Tell how far the start has come; see `Progress`. What has only just begun is told at once."""
        now = time.monotonic()
        # Several threads verify the term index at once.
        with self._telling:
            if doing == self._doing and now < self._beat_at:
                return
            if doing != self._doing:
                log.info("starting: %s", doing)
            self._doing, self._beat_at = doing, now + self._settings.worker.heartbeat_s
            self.alive(Phase.STARTING, {}, progress=f"{doing}, {done:,} of {of:,}" if of else doing)

    def alive(self, phase: Phase, figures: dict[str, float], classifier: str = "", progress: str = "") -> None:
        """Write a heartbeat now."""
        heartbeat = Heartbeat(os.getpid(), self._started_ms, _now_ms(), phase, figures, classifier, progress)
        write_heartbeat(self._settings.home, heartbeat)

    def begin(self) -> None:
        """The start is over: the next heartbeat is due at once."""
        self._beat_at = 0.0

    def due(self, worker: Worker, report: Report) -> bool:
        """Beat and report when it is time; returns whether an operator has paused the worker."""
        now = time.monotonic()
        if now < self._beat_at:
            return False
        self._beat_at = now + self._settings.worker.heartbeat_s
        current = worker.figures()
        self.alive(Phase.RUNNING, current, worker.classifier_version)
        if now >= self._report_at:
            self._report_at = now + self._settings.worker.report_s
            report(current)
        by = paused_by(self._settings.home)
        if by is not None:
            log.info("paused by %s", by)
        return by is not None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
