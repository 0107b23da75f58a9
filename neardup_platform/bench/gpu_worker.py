"""The worker's path of an image without Kafka: images in → search, score, decide, commit → stored, by batch.

A store filled with synthetic images → **batches of newer ones** → images per second, and milliseconds an image by
stage: what of them a GPU could take over is `search_ms` and `score_ms`. Where there is a GPU, the same two stages are
measured there as well, with the signatures and the vectors of the corpus in its memory.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import faiss
import numpy as np

from neardup_platform.bench.gpu_score import Scorer
from neardup_platform.bench.seed_store import seed_store
from neardup_platform.bench.synthetic import embeddings, many_images
from neardup_platform.bench.timing import median_seconds
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Decided, Pipeline
from neardup_platform.records import JoinedImage, Kind, ModelSpec
from neardup_platform.scoring.card import Card
from neardup_platform.scoring.keras_classifier import PairClassifier
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.stream.steps import StreamStep
from neardup_platform.terms.faiss_flat import FaissFlat
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.terms.opening import open_index

Row = dict[str, Any]

# Images in a batch, and batches: of one image, of 200 images per second, and of a backlog.
BATCHES = ((1, 200), (4, 60), (64, 8), (256, 4))
# Batches of a GPU.
DEVICE_BATCHES = (1, 64, 256, 1_024)
# Filling a store takes a minute for 300,000 images.
MOST_IMAGES = 100_000
STAGES = ("terms", "search", "score", "decide")
_BITS = 256
_SEED = 9


def bench_worker(rows: int, classifier: PairClassifier, settings: Settings, report: Callable[[str], None]) -> list[Row]:
    """Returns a row of metrics for each size of batch; always on the CPU.

    Args:
        rows: images in the store, at most `MOST_IMAGES` of them.
        classifier: that scores.
        settings: of search and decisions.
        report: called with a line about the current step.

    Raises:
        SetupError: the disk is full.
    """
    corpus_images, measured = min(rows, MOST_IMAGES), []
    with TemporaryDirectory(prefix="neardup-bench-") as folder:
        there = settings.model_copy(update={"home": Path(folder)})
        report(f"a store of {corpus_images:,} images")
        seed_store(there, corpus_images)
        space, models = load_term_space(there.terms.space), classifier.required_models
        with closing(Store(there.store_path)) as store:
            corpus = rebuild_corpus(
                store,
                space,
                models,
                lambda source: open_index(there.index_path, space, there.terms, source),
                there.vectors_path,
            )
            with closing(corpus):
                pipeline = Pipeline(space, classifier, corpus, Matching.of(there, classifier))
                number = corpus_images
                for images, batches in BATCHES:
                    steps = [_images(range(n, n + images), models) for n in _starts(number, images, batches)]
                    number += images * batches
                    row = _decide(pipeline, store, steps)
                    measured.append({"measured": "worker", "device": "cpu", "corpus": corpus_images, **row})
                    report(f"worker, batches of {images}: {row['images_per_s']:,} images/s")
    return measured


def bench_device(rows: int, scorer: Scorer, card: Card, candidates: int, report: Callable[[str], None]) -> list[Row]:
    """Returns the speed of search and score on a GPU, with the corpus in its memory, for each size of batch.

    Args:
        rows: images in the corpus.
        scorer: on the device.
        card: of the classifier.
        candidates: of an image.
        report: called with a line about the current step.
    """
    rng = np.random.default_rng(_SEED)
    table = many_images(rng, rows, card)
    signs = np.packbits(table.lsh[:, :_BITS] > 0, axis=1)
    flat, score, measured = FaissFlat(faiss.IndexBinaryFlat(8 * signs.shape[1])), scorer(table), []
    flat.add(signs)
    for images in DEVICE_BATCHES:
        queries = rng.integers(0, rows, (8, images))

        def call(number: int, queries: Any = queries) -> None:
            asked = queries[number % len(queries)]
            found, _ = flat.nearest(signs[asked], candidates)
            score(np.repeat(asked, found.shape[1]), found.ravel())

        seconds = median_seconds(call)
        shape = {"corpus": rows, "images": images, "candidates": candidates}
        speed = {"ms": round(1e3 * seconds, 3), "images_per_s": round(images / seconds)}
        measured.append({"measured": "search and score", "device": "gpu", **shape, **speed})
        report(f"search and score on the GPU, batches of {images}: {speed['images_per_s']:,} images/s")
    flat.reset()
    return measured


def _starts(first: int, images: int, batches: int) -> Iterator[int]:
    return iter(range(first, first + images * batches, images))


def _images(numbers: range, models: dict[Kind, ModelSpec]) -> list[JoinedImage]:
    found = ({each.kind: each for each in embeddings(number, models, 1)} for number in numbers)
    return [JoinedImage(both[Kind.LSH], both[Kind.PAIR]) for both in found]


def _decide(pipeline: Pipeline, store: Store, steps: list[list[JoinedImage]]) -> Row:
    """Decides and commits batches; milliseconds are medians over them."""
    images, state = len(steps[0]), store.state()
    times: list[dict[str, float]] = []
    for step in steps:
        started = perf_counter()
        decided = pipeline.decide(step, state.sequence + 1, 1)
        deciding = perf_counter() - started
        commit(store, state, StreamStep(decided=decided), 1, publish=False)
        whole = perf_counter() - started
        times.append({"ms": 1e3 * whole, "commit": 1e3 * (whole - deciding), **_stages(decided)})
    middle = {name: median(each[name] for each in times) for name in times[0]}
    return {
        "images": images,
        "ms": round(middle["ms"], 3),
        "images_per_s": round(1e3 * images / middle["ms"]),
        **{f"{stage}_ms": round(middle[stage] / images, 4) for stage in (*STAGES, "commit")},
    }


def _stages(decided: list[Decided]) -> dict[str, float]:
    return {stage: sum(batch.stage_ms.get(stage, 0.0) for batch in decided) for stage in STAGES}
