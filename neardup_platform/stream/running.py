"""A stream worker from start to end: opened, run until it is stopped, and opened again over another store.

A store that a command has put in place of this one is opened by the same process, whose modules and compiled loops are
loaded already.
"""

import logging
import threading

from neardup_platform.clock import Clock
from neardup_platform.settings import Settings
from neardup_platform.stream.assembly import MakeClassifiers, open_worker
from neardup_platform.stream.control.outcome import ReplaceStore
from neardup_platform.stream.liveness import Liveness, Report
from neardup_platform.stream.models.keras_classifiers import KerasClassifiers

log = logging.getLogger(__name__)


def run_worker(
    settings: Settings,
    clock: Clock,
    stop: threading.Event,
    report: Report,
    make_classifiers: MakeClassifiers = KerasClassifiers,
) -> None:
    """Run until `stop` is set or an operator pauses the worker.

    Args:
        settings: with the addresses of Kafka filled in.
        stop: set by a signal handler or another thread; the steps in flight are abandoned, and read again by the next
            worker.
        report: called with the metrics every `worker.report_s` seconds.

    Raises:
        NeardupError: the process cannot continue; a new one starts from the store.
    """
    while (replaced := _run_over_one_store(settings, clock, stop, report, make_classifiers)) is not None:
        log.info("%s", replaced.reason)


def _run_over_one_store(
    settings: Settings, clock: Clock, stop: threading.Event, report: Report, make_classifiers: MakeClassifiers
) -> ReplaceStore | None:
    liveness = Liveness(settings, clock, report)
    with open_worker(settings, clock, liveness, make_classifiers) as worker:
        log.info("worker ready: %s", worker.metrics())
        liveness.started()
        while not stop.is_set() and not liveness.due(worker):
            replaced = worker.turn()
            if replaced is not None:
                return replaced
        liveness.stopped(worker)
    return None
