"""What lies between a worker's start and its end, without Kafka: a store, a term index of small blocks, a pipeline."""

import time
from pathlib import Path
from uuid import uuid4

from neardup_platform.clusters.overrides import Overrides
from neardup_platform.corpus import Corpus
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Decided, Pipeline
from neardup_platform.records import Decision, Embedding, JoinedImage
from neardup_platform.scoring.vectors import MemoryVectors
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import Step, commit
from neardup_platform.stream.control.command import Handled
from neardup_platform.stream.corrections import forget, override
from neardup_platform.stream.corrections.deciding_again import DecidingAgain
from neardup_platform.stream.corrections.re_embedding import decide_newer, vacate
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.terms.index import TermIndex
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message, decode_decision
from neardup_platform.wire.topics import CONTROL
from tests.small import LSH_DIM, MODELS, PAIR_DIM, SPACE, CosineScorer
from tests.terms.sealing_process import EXACT

BLOCK_IMAGES = 32
MOST = 4


def term_index(folder: Path | None = None, source: str = "") -> TermIndex:
    return TermIndex(folder, SPACE, EXACT, source=source, block_images=BLOCK_IMAGES)


def hot_pipeline(corpus: Corpus | None = None, most: int = MOST, candidates: int = 1_000) -> Pipeline:
    """A pipeline that finds all there is to find, over clusters of few representatives."""
    corpus = Corpus(SPACE, term_index(), MemoryVectors(LSH_DIM, PAIR_DIM)) if corpus is None else corpus
    return Pipeline(SPACE, CosineScorer(), corpus, Matching(candidates, 0, 0.9, 0.8, most))


class SmallWorker:
    """Opened over what an earlier one left in its home, as a restart does."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home / "store")
        corpus = rebuild_corpus(
            self.store, SPACE, MODELS, lambda source: term_index(home / "index", source), home / "vectors"
        )
        self.corpus, self.index = corpus, corpus.index
        self._pipeline = hot_pipeline(corpus)
        self.again = DecidingAgain(self.store, self._pipeline, Overrides(self.store.overrides()))
        self._handlers = {
            override.NAME: override.Override(self.again),
            forget.NAME: forget.Forget(self.store, self.again, lambda _: None),
        }

    def commit(self, images: list[JoinedImage], size: int = 7) -> None:
        for at in range(0, len(images), size):
            state = self.store.state()
            commit(self.store, state, Step(), self.decide(images[at : at + size]))

    def decide(self, images: list[JoinedImage]) -> list[Decided]:
        return self._pipeline.decide(images, self.store.state().sequence + 1, 7)

    def obey(self, name: str, *, command_id: str = "", apply: bool = True, **arguments: str) -> pb.CommandResult:
        """Carry out a command as the worker does; without `apply`, as one that is killed after the commit."""
        issued_ms = time.time_ns() // 1_000_000
        command = pb.Command(
            command_id=command_id or uuid4().hex,
            name=name,
            arguments=arguments,
            issued_by="a test",
            issued_ms=issued_ms,
        )
        outcome = self._handlers[name](command)()
        result = pb.CommandResult(command_id=command.command_id, accepted=True, values=outcome.values)
        self._commit(Step.of_command(Handled(Message(CONTROL, 0, 0, b"", b""), result, outcome)))
        if apply:
            outcome.apply()
        return result

    def re_embed(self, newer: Embedding) -> None:
        """Decide a known image again as the worker does for a newer embedding."""
        outcome = decide_newer(self.again, newer, 8)
        self._commit(Step(outcome=outcome))
        outcome.apply()

    def replace(self, image: JoinedImage) -> None:
        """Decide a known image again as the worker does for two embeddings that replace the stored ones."""
        outcomes = [lambda: vacate(self.again, image.image_id, 8), lambda: decide_newer(self.again, image, 8)]
        for decide in outcomes:
            if (outcome := decide()) is not None:
                self._commit(Step(outcome=outcome))
                outcome.apply()

    def _commit(self, step: Step) -> None:
        commit(self.store, self.store.state(), step, ())

    def decisions(self) -> list[Decision]:
        return [decode_decision(self.store.decision(record.image_id)) for record in self.store.vectors()]

    def close(self) -> None:
        self.corpus.close()
        self.store.close()
