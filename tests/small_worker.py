"""What lies between a worker's start and its end, without Kafka: a store, a term index of small blocks, a pipeline."""

from pathlib import Path

from neardup_platform.clusters.rocksdb_store import Store
from neardup_platform.corpus import Corpus
from neardup_platform.messages.codec import decode_decision
from neardup_platform.pipeline import Decided, Matching, Pipeline
from neardup_platform.records import Decision, JoinedImage
from neardup_platform.scoring.vectors import MemoryVectors
from neardup_platform.stream.commit import Step, commit
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.terms.index import TermIndex
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

    def commit(self, images: list[JoinedImage], size: int = 7) -> None:
        for at in range(0, len(images), size):
            state = self.store.state()
            commit(self.store, state, Step(), self.decide(images[at : at + size]), None)

    def decide(self, images: list[JoinedImage]) -> list[Decided]:
        return self._pipeline.decide(images, self.store.state().sequence + 1, 7)

    def decisions(self) -> list[Decision]:
        return [decode_decision(self.store.decision(record.image_id)) for record in self.store.vectors()]

    def close(self) -> None:
        self.corpus.close()
        self.store.close()
