"""Reprocessing in a process of its own, of low priority, so that the stream keeps its pace.

The worker sends calls and the process answers each (child_process.py). What it has decided is in the store under
construction.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from neardup_platform.clock import Clock
from neardup_platform.errors import HomeInUse, NeardupError, PermanentError, SetupError
from neardup_platform.settings import Settings
from neardup_platform.store.view import open_checkpoint
from neardup_platform.store.writer import Store
from neardup_platform.stream.built_files import INDEX, VECTORS
from neardup_platform.stream.child_process import ChildProcess
from neardup_platform.stream.reprocess.construction import prepare
from neardup_platform.stream.reprocess.reprocessing import Reprocessed, Reprocessing

# An earlier process notices within a batch that its worker is gone.
_PATIENCE_S = 30.0
_RETRY_S = 0.2


@dataclass(frozen=True, slots=True)
class _Open:
    checkpoint: Path
    target: Path
    scratch: Path
    command_id: str
    rules: str
    classifier: str
    settings: str


@dataclass(frozen=True, slots=True)
class _Round:
    checkpoint: Path
    first_sequence: int


@dataclass(frozen=True, slots=True)
class _Finalise:
    checkpoint: Path


@dataclass(frozen=True, slots=True)
class _Failure:
    reason: str


_Call = _Open | _Round | _Finalise


class RemoteReprocessing:
    """The worker's end.

    Args:
        settings: the process reads its own, which must be the same.
        log: receives the output of the process.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings = settings.fingerprint()
        self._process = ChildProcess("neardup_platform.stream.reprocess", log, "decides again")

    def open(
        self, checkpoint: Path, target: Path, scratch: Path, command_id: str, rules: str, classifier: str
    ) -> Reprocessed:
        """Start, or continue what an interrupted attempt by the same rules has done.

        Args:
            checkpoint: of the active store.
            target: folder of the store under construction.
            scratch: folder for its vectors and terms.
            rules: names what decides.
            classifier: version of the classifier.

        Raises:
            NeardupError: it failed; the text says why.
        """
        return self._call(_Open(checkpoint, target, scratch, command_id, rules, classifier, self._settings))

    def round(self, checkpoint: Path, first_sequence: int) -> Reprocessed:
        """See `Reprocessing.round`."""
        return self._call(_Round(checkpoint, first_sequence))

    def finalise(self, checkpoint: Path) -> Reprocessed:
        """See `Reprocessing.finalise`; the process has ended afterwards."""
        found = self._call(_Finalise(checkpoint))
        self.close()
        return found

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def interrupt(self) -> None:
        """See `Rounds.interrupt`."""
        self._process.interrupt()

    def _call(self, call: _Call) -> Reprocessed:
        answer = self._process.call(call)
        if isinstance(answer, _Failure):
            raise PermanentError(answer.reason)
        if not isinstance(answer, Reprocessed):
            raise PermanentError(f"the process that decides again answered {type(answer).__name__}")
        return answer


class _Server:
    """The other end."""

    def __init__(self, stack: ExitStack, clock: Clock) -> None:
        self._stack, self._clock = stack, clock
        self._parent = os.getppid()
        self._reprocessing: Reprocessing | None = None

    def answer(self, call: _Call) -> Reprocessed:
        if isinstance(call, _Open):
            return self._open(call)
        if self._reprocessing is None:
            raise PermanentError("the worker has to open the stores first")
        with closing(open_checkpoint(call.checkpoint)) as source:
            if isinstance(call, _Round):
                return self._reprocessing.round(source, call.first_sequence)
            return self._reprocessing.finalise(source)

    def _open(self, call: _Open) -> Reprocessed:
        from neardup_platform.learning.classifier.keras_active_classifier import classifier_folder
        from neardup_platform.matching import Matching
        from neardup_platform.pipeline import Pipeline
        from neardup_platform.scoring.keras_classifier import load_classifier
        from neardup_platform.stream.recovery import rebuild_corpus
        from neardup_platform.terms.opening import load_search_space, open_index

        settings = Settings()
        if settings.fingerprint() != call.settings:
            raise SetupError("neardup.toml has changed since the worker started: restart the worker, send it again")
        self._wait_for(lambda: prepare(call.checkpoint, call.target, call.rules))
        space = load_search_space(settings.terms)
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
            target, pipeline, call.command_id, call.scratch / VECTORS, self._clock, self._check_parent
        )
        return self._reprocessing.so_far()

    def _check_parent(self) -> None:
        if os.getppid() != self._parent:
            raise SystemExit(1)

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


def serve(connection: Connection, clock: Clock) -> None:
    """Answer calls until the worker closes its end or is gone."""
    with ExitStack() as stack:
        server = _Server(stack, clock)
        while True:
            try:
                call = connection.recv()
            except (EOFError, OSError):
                return
            try:
                answer: Reprocessed | _Failure = server.answer(call)
            except NeardupError as error:
                answer = _Failure(str(error))
            except Exception as error:  # noqa: BLE001 -- whatever it is, the worker must report it
                answer = _Failure(f"{type(error).__name__}: {error}")
            connection.send(answer)
