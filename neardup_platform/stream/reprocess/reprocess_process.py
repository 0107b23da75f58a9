"""Reprocessing in a process of its own, of low priority, so that the stream keeps its pace.

The worker writes a request a line to its standard input and reads an answer a line; see `RemoteReprocessing`. When that
ends, or the worker dies, so does the process; what it has decided is in the store to come.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from neardup_platform.errors import HomeInUse, NeardupError, PermanentError, RetryableError, SetupError
from neardup_platform.settings import Settings
from neardup_platform.store.view import open_checkpoint
from neardup_platform.store.writer import Store
from neardup_platform.stream.reprocess.reprocessing import Reprocessed, Reprocessing, prepare

# Below everything else on the machine.
_NICENESS = 19
# An earlier process notices within a batch that its worker is no more.
_PATIENCE_S = 30.0
_CLOSE_S = 10.0


class RemoteReprocessing:
    """What the worker has of it.

    Args:
        settings: those of the process are read anew and must be the same.
        log: takes what the process says.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "neardup_platform.stream.reprocess.reprocess_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                start_new_session=True,
            )
        self._log, self._settings = log, settings.fingerprint()

    def open(
        self, checkpoint: Path, target: Path, scratch: Path, command_id: str, rules: str, classifier: str
    ) -> Reprocessed:
        """Begin, or go on with what an interrupted attempt by the same rules has done.

        Args:
            checkpoint: of the store in force.
            target: folder of the store to come.
            scratch: folder for its vectors and terms.
            rules: names what decides.
            classifier: version of the classifier.

        Raises:
            NeardupError: it cannot be.
        """
        return self._ask(
            "open",
            checkpoint=str(checkpoint),
            target=str(target),
            scratch=str(scratch),
            command_id=command_id,
            rules=rules,
            classifier=classifier,
            settings=self._settings,
        )

    def round(self, checkpoint: Path, first_sequence: int) -> Reprocessed:
        """See `Reprocessing.round`."""
        return self._ask("round", checkpoint=str(checkpoint), first_sequence=first_sequence)

    def finalise(self, checkpoint: Path) -> Reprocessed:
        """See `Reprocessing.finalise`; the process has ended afterwards."""
        found = self._ask("finalise", checkpoint=str(checkpoint))
        self.close()
        return found

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def interrupt(self) -> None:
        """See `Rounds.interrupt`."""
        self._process.kill()

    def _ask(self, what: str, **details: object) -> Reprocessed:
        line = b""
        if self._process.stdin is not None and self._process.stdout is not None:
            try:
                self._process.stdin.write(json.dumps({"what": what, **details}).encode() + b"\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except OSError as error:
                raise RetryableError(f"the process that decides again has ended ({error}): see {self._log}") from error
        if not line:
            raise RetryableError(f"the process that decides again has ended: see {self._log}, send the command again")
        answer = json.loads(line)
        if "error" in answer:
            raise PermanentError(answer["error"])
        return Reprocessed(**answer)


class _Served:
    """The other end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._parent = os.getppid()
        self._reprocessing: Reprocessing | None = None

    def answer(self, request: dict[str, Any]) -> Reprocessed:
        if request["what"] == "open":
            return self._open(request)
        assert self._reprocessing is not None  # noqa: S101 -- the worker opens first
        with closing(open_checkpoint(Path(request["checkpoint"]))) as source:
            if request["what"] == "round":
                return self._reprocessing.round(source, request["first_sequence"])
            return self._reprocessing.finalise(source)

    def _open(self, request: dict[str, Any]) -> Reprocessed:
        from neardup_platform.learning.classifier.keras_active_classifier import classifier_folder
        from neardup_platform.matching import Matching
        from neardup_platform.pipeline import Pipeline
        from neardup_platform.scoring.keras_classifier import limit_tensorflow_threads, load_classifier
        from neardup_platform.stream.recovery import rebuild_corpus
        from neardup_platform.terms.hyperplanes import load_term_space
        from neardup_platform.terms.index import open_index

        settings = Settings()
        if settings.fingerprint() != request["settings"]:
            raise SetupError("neardup.toml is other than when the worker started: restart the worker, send it again")
        _wait_for(lambda: prepare(Path(request["checkpoint"]), Path(request["target"]), request["rules"]))
        limit_tensorflow_threads(1)
        space = load_term_space(settings.terms.space)
        scorer = load_classifier(classifier_folder(settings, request["classifier"]), threads=1)
        target = self._stack.enter_context(closing(Store(Path(request["target"]))))
        scratch = Path(request["scratch"])
        corpus = rebuild_corpus(
            target,
            space,
            scorer.required_models,
            lambda source: open_index(scratch / "index", space, settings.terms, source),
            scratch / "vectors",
        )
        self._stack.callback(corpus.close)
        pipeline = Pipeline(space, scorer, corpus, Matching.of(settings, scorer))
        self._reprocessing = Reprocessing(target, pipeline, request["command_id"], self._check_parent)
        return self._reprocessing.so_far()

    def _check_parent(self) -> None:
        if os.getppid() != self._parent:
            raise SystemExit(1)


def _wait_for(preparing: Any) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            preparing()
        except HomeInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def main() -> None:
    """Answer requests until there are no more."""
    os.nice(_NICENESS)
    # TensorFlow and others may write to standard output, which is for answers.
    answers: IO[str] = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with ExitStack() as stack:
        served = _Served(stack)
        for line in sys.stdin:
            try:
                answer: dict[str, Any] = asdict(served.answer(json.loads(line)))
            except NeardupError as error:
                answer = {"error": str(error)}
            except Exception as error:  # noqa: BLE001 -- whatever it is, the worker must hear of it
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
