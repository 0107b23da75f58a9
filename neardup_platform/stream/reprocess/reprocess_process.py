"""The process that decides again, as `remote_reprocess.py` calls it."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing

from neardup_platform.clock import Clock, SystemClock
from neardup_platform.errors import HomeInUse, PermanentError
from neardup_platform.store.view import open_checkpoint
from neardup_platform.store.writer import Store
from neardup_platform.stream.built_files import INDEX, VECTORS
from neardup_platform.stream.child_server import Worker, serve
from neardup_platform.stream.reprocess.construction import prepare
from neardup_platform.stream.reprocess.remote_reprocess import Finalise, Open, Round
from neardup_platform.stream.reprocess.reprocessing import Reprocessed, Reprocessing

# An earlier process notices within a batch that its worker is gone.
_PATIENCE_S = 30.0
_RETRY_S = 0.2


class _Server:
    def __init__(self, worker: Worker, stack: ExitStack, clock: Clock) -> None:
        self._worker, self._stack, self._clock = worker, stack, clock
        self._reprocessing: Reprocessing | None = None

    def answer(self, call: Open | Round | Finalise) -> Reprocessed:
        if isinstance(call, Open):
            return self._open(call)
        if self._reprocessing is None:
            raise PermanentError("the worker has to open the stores first")
        with closing(open_checkpoint(call.checkpoint)) as source:
            if isinstance(call, Round):
                return self._reprocessing.round(source, call.first_sequence)
            return self._reprocessing.finalise(source)

    def _open(self, call: Open) -> Reprocessed:
        from neardup_platform.learning.classifier.keras_active_classifier import classifier_folder
        from neardup_platform.matching import Matching
        from neardup_platform.pipeline import Pipeline
        from neardup_platform.scoring.keras_classifier import load_classifier
        from neardup_platform.stream.recovery import rebuild_corpus
        from neardup_platform.terms.opening import load_search_space, open_index

        settings = self._worker.settings()
        self._wait_for(lambda: prepare(call.checkpoint, call.target, call.rules))
        space = load_search_space(settings)
        scorer = load_classifier(classifier_folder(settings, call.classifier), 1, settings.scoring.kinds)
        target = self._stack.enter_context(closing(Store(call.target)))
        corpus = rebuild_corpus(
            target,
            space,
            scorer.required_models,
            lambda source: open_index(call.scratch / INDEX, space, settings.terms, source),
            call.scratch / VECTORS,
        )
        self._stack.callback(corpus.close)
        pipeline = Pipeline(space, scorer, corpus, Matching.of(settings, scorer))
        self._reprocessing = Reprocessing(
            target, pipeline, call.command_id, call.scratch / VECTORS, self._clock, self._worker.check
        )
        return self._reprocessing.so_far()

    def _wait_for(self, preparing: Callable[[], None]) -> None:
        """Prepare once an earlier process has closed the store."""
        deadline_s = self._clock.monotonic_s() + _PATIENCE_S
        while True:
            try:
                return preparing()
            except HomeInUse:
                if self._clock.monotonic_s() > deadline_s:
                    raise
                time.sleep(_RETRY_S)


if __name__ == "__main__":
    with ExitStack() as opened:
        serve(lambda worker: _Server(worker, opened, SystemClock()).answer)
