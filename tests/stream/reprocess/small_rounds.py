"""Reprocessing by a small pipeline, in this process instead of one of its own."""

from contextlib import closing
from pathlib import Path

from neardup_platform.clock import Clock
from neardup_platform.matching import Matching
from neardup_platform.store.view import open_checkpoint
from neardup_platform.store.writer import Store
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.stream.reprocess.construction import prepare
from neardup_platform.stream.reprocess.reprocessing import Reprocessed, Reprocessing
from neardup_platform.testing import MODELS, small_index, small_pipeline, small_term_space


class SmallRounds:
    """What the other process does, in this one."""

    def __init__(self, matching: Matching, clock: Clock) -> None:
        self._matching, self._clock = matching, clock
        self._reprocessing: Reprocessing | None = None

    def open(
        self, checkpoint: Path, target: Path, scratch: Path, command_id: str, rules: str, classifier: str
    ) -> Reprocessed:
        prepare(checkpoint, target, rules)
        self._store = Store(target)
        state = scratch / "vectors"
        self._corpus = rebuild_corpus(
            self._store, small_term_space(), MODELS, lambda source: small_index(source, scratch / "index"), state
        )
        pipeline = small_pipeline(self._corpus)
        pipeline.use_classifier(pipeline.scorer, self._matching)
        self._reprocessing = Reprocessing(self._store, pipeline, command_id, state, self._clock)
        return self._reprocessing.so_far()

    def round(self, checkpoint: Path, first_sequence: int) -> Reprocessed:
        assert self._reprocessing is not None
        with closing(open_checkpoint(checkpoint)) as source:
            return self._reprocessing.round(source, first_sequence)

    def finalise(self, checkpoint: Path) -> Reprocessed:
        assert self._reprocessing is not None
        with closing(open_checkpoint(checkpoint)) as source:
            found = self._reprocessing.finalise(source)
        self.close()
        return found

    def interrupt(self) -> None:
        """Nothing here takes long."""

    def close(self) -> None:
        if self._reprocessing is not None:
            self._corpus.close()
            self._store.close()
            self._reprocessing = None
