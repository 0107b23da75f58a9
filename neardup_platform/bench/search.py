"""`neardup bench search`: candidate search against its peers, on a corpus that contains real near-duplicates.

Real pictures are planted in a synthetic corpus (`planted_corpus.py`), every engine gets the same signatures, and recall
is measured on the true pairs that exhaustive cosine search puts in its first 100 (`search_truth.py`): the share that
the engine returns within K. Engines that cannot be built at any size in reasonable time get a smaller corpus; we are
measured on it too, for a comparison at equal size.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neardup_platform.bench.faiss_peers import FlatPeer, HnswPeer, IvfPeer, MultiHashPeer
from neardup_platform.bench.hot_cluster import measure_hot_cluster
from neardup_platform.bench.machine import result
from neardup_platform.bench.planted_corpus import Planted
from neardup_platform.bench.planted_pictures import plant
from neardup_platform.bench.process_memory import own_bytes
from neardup_platform.bench.search_engine import Engine
from neardup_platform.bench.search_measures import Load, measure_adds, measure_speed, search_all
from neardup_platform.bench.searched_corpus import SEED, SearchedCorpus, make_corpus
from neardup_platform.bench.tantivy_peer import TantivyPeer
from neardup_platform.bench.term_index_engine import (
    FittedCellsEngine,
    SignatureEngine,
    TermIndexEngine,
    compile_search,
)
from neardup_platform.bench.vector_peers import ProductPeer, RaBitQPeer, UsearchPeer, VectorGraphPeer
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.settings import Settings
from neardup_platform.terms.effort import Effort
from neardup_platform.terms.hyperplanes import WORD_BITS, TermSpace, load_term_space
from neardup_platform.terms.opening import searched_space

Report = Callable[[str], None]
Row = dict[str, Any]

CORPUS = (
    "synthetic images from a tree of topics, subtopics, groups and families of near-duplicates, with the covariance of "
    "the planted pictures and the tail of pairwise cosines measured on 8,489 real ones"
)


@dataclass(frozen=True, slots=True)
class Task:
    """The parameters of the benchmark.

    Attributes:
        docs: images in the corpus.
        peer_docs: images in the corpus of engines that cannot be built at any size, at most `docs`.
        k: hits within which a true neighbour must be.
        manifest: CSV of the pictures to plant; None: a default.
    """

    docs: int
    peer_docs: int
    k: int
    manifest: Path | None

    @property
    def sizes(self) -> dict[int, bool]:
        """Corpus sizes, and whether engines that cannot be built at any size are measured at each."""
        return {self.docs: self.peer_docs == self.docs, self.peer_docs: True}


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions for every engine.

    Attributes:
        k: hits within which a true neighbour must be.
        min_overlap: equal terms that our own index requires of a candidate.
        effort: of our own index, by default.
        fitted_effort: the same with cells that are fitted to the corpus.
        signature_effort: the same with whole signatures.
        representatives: members of a cluster that our own index holds.
    """

    k: int
    min_overlap: int
    effort: Effort
    fitted_effort: Effort
    signature_effort: Effort
    representatives: int


def bench_search(task: Task, settings: Settings, report: Report) -> dict[str, Any]:
    """Run the benchmark in a temporary folder.

    Raises:
        SetupError: there is nothing to plant, the corpus is too small, or a peer is not installed.
    """
    space = searched_space(load_term_space(settings.terms.space), settings.terms)
    lsh, _ = load_embedders(settings.images)
    what, planted = plant(task.manifest, lsh, space, settings.images, report)
    terms = settings.terms
    effort = Effort.of(terms)
    fitted = Effort.of(terms, fitted=True)
    signed = effort if not space.by_cosine else Effort.of(terms.model_copy(update={"ranking": "hamming"}))
    conditions = Conditions(task.k, terms.min_overlap, effort, fitted, signed, terms.max_representatives)
    rows = []
    for docs, with_all in task.sizes.items():
        rows += measure_at(docs, planted, space, conditions, report, with_all=with_all)
    described = {
        "docs": task.docs,
        "peer_docs": task.peer_docs,
        "k": task.k,
        "min_overlap": terms.min_overlap,
        "scan_images": effort.scan,
        "shortlist": effort.shortlist,
        "ranking": terms.ranking,
        "planted": what,
        "planted_pictures": len(planted.unit),
        "corpus": CORPUS,
        "seed": SEED,
        "term_space": space.version,
    }
    return result("search", described, rows)


def measure_at(
    docs: int, planted: Planted, space: TermSpace, conditions: Conditions, report: Report, *, with_all: bool
) -> list[Row]:
    """All rows of one corpus size.

    Args:
        docs: the corpus size.
        planted: real pictures.
        space: of the signatures.
        conditions: for the engines.
        report: called with a line about the current step.
        with_all: whether to measure also the engines that cannot be built at any size.
    """
    given = conditions.effort, conditions.fitted_effort, conditions.signature_effort
    effort, fitted, signed = (each.within(docs, conditions.k) for each in given)
    conditions = replace(conditions, effort=effort, fitted_effort=fitted, signature_effort=signed)
    corpus = make_corpus(planted, docs, space, report)
    compile_search(space, corpus.queries, conditions.effort)
    rows: list[Row] = []
    for make in _engines(space, docs, conditions, with_all=with_all):
        with TemporaryDirectory(prefix="neardup-bench-") as folder:
            rows += _measure(make, Path(folder), corpus, conditions, report)
    return rows


def _engines(
    space: TermSpace, docs: int, conditions: Conditions, *, with_all: bool
) -> Iterator[Callable[[Path], Engine]]:
    bits = WORD_BITS * space.words
    yield lambda folder: TermIndexEngine(space, folder / "index", docs, conditions.effort, conditions.min_overlap)
    yield lambda folder: FittedCellsEngine(
        space, folder / "index", docs, conditions.fitted_effort, conditions.min_overlap
    )
    if with_all and space.by_cosine:
        signed, usual = replace(space, by_cosine=False), conditions.signature_effort
        yield lambda folder: SignatureEngine(signed, folder / "index", docs, usual, conditions.min_overlap)
    yield lambda folder: FlatPeer(bits, folder)
    yield lambda folder: IvfPeer(bits, folder)
    yield lambda folder: ProductPeer(space, folder)
    yield lambda folder: RaBitQPeer(space, folder)
    if with_all:
        yield lambda folder: VectorGraphPeer(space, folder)
        yield lambda folder: UsearchPeer(space, folder)
        yield lambda folder: MultiHashPeer(bits, folder)
        yield lambda folder: HnswPeer(bits, folder)
        yield lambda folder: TantivyPeer(space, folder / "index")


def _measure(
    make: Callable[[Path], Engine], folder: Path, corpus: SearchedCorpus, conditions: Conditions, report: Report
) -> list[Row]:
    """Build one engine, open it, and measure it at each of its settings."""
    before = own_bytes()
    engine = make(folder)
    report(f"{engine.name}: building an index of {corpus.docs:,}")
    try:
        built: Row = {"build_s": _build(engine, corpus), "open_s": _open(engine, corpus)}
        held = max(0, own_bytes() - before) + engine.mapped_bytes()
        built["bytes_per_image"] = round(held / corpus.docs, 1)
        built |= {"true_pairs": corpus.truth.labelled, "true_pairs_in_reach": len(corpus.truth.rows)}
        load = Load(corpus.queries, corpus.newcomers, conditions.k + 1)
        recalls = {setting: _recall(engine, setting, corpus, load) for setting in engine.settings}
        rows = []
        for setting, recall in recalls.items():
            row = {"engine": engine.name, "setting": setting, "docs": corpus.docs, "recall": recall, "k": conditions.k}
            row |= measure_speed(engine, setting, load)
            report(f"{engine.name}, {setting}: recall {recall}, {row['qps_2']} queries/s, p99 {row['p99_ms']} ms")
            rows.append(row | built)
        # Last, because it adds so many images that the corpus is a different one afterwards.
        adds_per_s = measure_adds(engine, load)
        if isinstance(engine, TermIndexEngine):
            usual = engine.usual_setting
            hot = measure_hot_cluster(engine, usual, corpus.queries[:1], load, conditions.representatives)
            shared = {"engine": engine.name, "docs": corpus.docs, "recall": recalls[usual], "k": conditions.k}
            rows += [shared | row | built for row in hot]
    finally:
        engine.close()
    return [row | {"adds_per_s": adds_per_s} for row in rows]


def _recall(engine: Engine, setting: str, corpus: SearchedCorpus, load: Load) -> float:
    engine.use(setting, threads=2)
    return round(corpus.truth.recall(search_all(engine, load), load.k - 1), 4)


def _build(engine: Engine, corpus: SearchedCorpus) -> float:
    """Seconds from signatures to an index on disk."""
    started = time.perf_counter()
    engine.prepare(corpus.learnt_from, corpus.docs)
    for part in corpus.parts():
        engine.add(part)
    engine.save()
    return round(time.perf_counter() - started, 2)


def _open(engine: Engine, corpus: SearchedCorpus) -> float:
    """Seconds from an index on disk to the first answer."""
    started = time.perf_counter()
    engine.open()
    engine.use(engine.settings[-1], threads=2)
    engine.search(corpus.queries[:1], 1)
    return round(time.perf_counter() - started, 2)
