"""`neardup bench score`: pairs scored per second, from mapped compact rows to probabilities, against its peers.

The table is the worker's own, on disk and larger than the processor's caches, with candidates at random rows, which is
the worst case. Engines take turns within a round, in changing order, so that other load on the machine affects all of
them alike; pairs/s are medians over rounds, ratios are medians of the ratios within a round. Processor time (of all
threads, in µs a pair) says more on a machine that does other work as well.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.bench.machine import result
from neardup_platform.bench.score_engines import Engine, engines
from neardup_platform.bench.score_shares import shares
from neardup_platform.bench.synthetic import FAMILY_IMAGES, many_images
from neardup_platform.errors import InvariantBroken
from neardup_platform.id_space import MAX_ORDINALS
from neardup_platform.scoring.card import Card
from neardup_platform.scoring.compact import Layout
from neardup_platform.scoring.features import compared_entries
from neardup_platform.scoring.keras_classifier import load_classifier, split_pairs
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.scoring.tensorflow_network import limit_tensorflow_threads
from neardup_platform.scoring.vectors import ImageVectors, VectorRows
from neardup_platform.settings import Settings

Report = Callable[[str], None]
Row = dict[str, Any]
Ordinals = NDArray[np.int64]

# Images and candidates of each: one image, one with the original's limit of candidates, the worker's default largest
# batch, and batches of a bulk load.
BATCHES = ((1, 200), (1, 2_500), (64, 200), (256, 200), (1_024, 200))
THREADS = (1, 2)
# The least pairs in a turn: calls are repeated until a turn is long enough to be timed.
_TURN_PAIRS = 12_800
_MOST_DIFFERENT = 1e-4
_SEED = 4
_CHUNK = 16_384
_LOOK_S, _MOST_LOOKS = 0.02, 100


class NoPairs:
    """A store whose pair vectors are never read: first scores are computed from compact rows."""

    def ordinals(self) -> int:
        """Everything is committed."""
        return MAX_ORDINALS

    def pairs(self, ordinals: Sequence[int]) -> Sequence[bytes | None]:
        """None."""
        return [None] * len(ordinals)


@dataclass(frozen=True, slots=True)
class Batch:
    """Images with the same number of candidates each, row by row as the pipeline lists them."""

    images: ImageVectors
    rows: Ordinals
    ordinals: Ordinals


def bench_score(rows: int, rounds: int, settings: Settings, report: Report) -> dict[str, Any]:
    """Run the benchmark in a temporary folder.

    Args:
        rows: images in the table.
        rounds: turns of every engine at each batch size.
        settings: which classifier.
        report: called with a line about the current step.

    Raises:
        SetupError: onnxruntime is not installed, or the disk is full.
        InvariantBroken: engines disagree on the probabilities.
    """
    limit_tensorflow_threads(max(THREADS))
    classifiers = {threads: load_classifier(settings.scoring.model, threads) for threads in THREADS}
    card, rng = classifiers[1].card, np.random.default_rng(_SEED)
    measured: list[Row] = []
    with TemporaryDirectory(prefix="neardup-bench-") as folder:
        report(f"writing the vectors of {rows:,} images")
        with closing(_table(Path(folder), rows, card, rng)) as table:
            for images, candidates in BATCHES:
                for threads, classifier in classifiers.items():
                    made = engines(classifier, threads)
                    batch = _batch(table.rows, images, candidates, rng)
                    found = _measure(made, table.rows, images, candidates, rounds, rng)
                    part = batch.rows[split_pairs(len(batch.rows), threads)[0]]
                    found["neardup"] |= shares(classifier, batch.images, part, table.rows, rng)
                    shape = {"threads": threads, "batch": len(batch.rows), "images": images}
                    measured += [{"engine": name, **shape, **metrics} for name, metrics in found.items()]
                    report(f"{images} images, {threads} threads: {found['neardup']['pairs_per_s']:,} pairs/s")
    described = {
        "rows": rows,
        "rounds": rounds,
        "classifier": card.version,
        "features": len(card.features),
        "bytes_per_image": Layout(card.lsh_dim, compared_entries(card.blocks)).width,
        "corpus": "synthetic vectors in families, candidates at random, five of each image's family among them",
        "seed": _SEED,
    }
    return result("score", described, measured)


def _table(folder: Path, rows: int, card: Card, rng: np.random.Generator) -> WrittenVectors:
    table = WrittenVectors(folder, "bench", card.required_models, 0, NoPairs())
    for first in range(0, rows, _CHUNK):
        table.append(many_images(rng, min(_CHUNK, rows - first), card))
    return table


def _batch(table: VectorRows, images: int, candidates: int, rng: np.random.Generator) -> Batch:
    """Some images of the table, with their families and other images as candidates."""
    chosen = rng.integers(0, len(table.lsh), images)
    ordinals = rng.integers(0, len(table.lsh), (images, candidates))
    family = chosen[:, None] // FAMILY_IMAGES * FAMILY_IMAGES + np.arange(FAMILY_IMAGES - 1)
    ordinals[:, : FAMILY_IMAGES - 1] = np.minimum(family, len(table.lsh) - 1)
    return Batch(table.at(chosen), np.repeat(np.arange(images), candidates), ordinals.ravel())


def _measure(
    made: dict[str, Engine], table: VectorRows, images: int, candidates: int, rounds: int, rng: np.random.Generator
) -> dict[str, Row]:
    """Pairs per second and processor time of every engine, and the ratios of both times to ours."""
    different = _agree(made, table, _batch(table, images, candidates, rng))
    calls = max(1, _TURN_PAIRS // (images * candidates))
    seconds, processor_s = np.zeros((rounds, len(made))), np.zeros((rounds, len(made)))
    for turn in range(rounds):
        batches = [_batch(table, images, candidates, rng) for _ in range(calls)]
        # Another engine is first in each turn: the first one meets rows that no other has fetched.
        for column in np.roll(np.arange(len(made)), turn):
            engine = list(made.values())[column]
            _settle()
            started, used = perf_counter(), process_time()
            for batch in batches:
                engine.score(batch.images, batch.rows, table, batch.ordinals)
            seconds[turn, column] = perf_counter() - started
            processor_s[turn, column] = process_time() - used
    pairs = calls * images * candidates
    rate, processor_us = pairs / np.median(seconds, axis=0), 1e6 * np.median(processor_s, axis=0) / pairs
    ratio, processor_ratio = (np.median(each / each[:, :1], axis=0) for each in (seconds, processor_s))
    return {
        name: {
            "pairs_per_s": round(float(rate[column])),
            "time_ratio": round(float(ratio[column]), 2),
            "processor_us": round(float(processor_us[column]), 3),
            "processor_ratio": round(float(processor_ratio[column]), 2),
            "max_difference": different[name],
        }
        for column, name in enumerate(made)
    }


def _settle() -> None:
    """Waits until no thread works: BLAS and TensorFlow let theirs spin after a call, and the next engine would pay."""
    for _ in range(_MOST_LOOKS):
        used = process_time()
        sleep(_LOOK_S)
        if process_time() - used < _LOOK_S / 10:
            return


def _agree(made: dict[str, Engine], table: VectorRows, batch: Batch) -> dict[str, float]:
    """Largest difference of each engine's probabilities from ours."""
    scores = {name: e.score(batch.images, batch.rows, table, batch.ordinals) for name, e in made.items()}
    different = {name: float(np.abs(found - scores["neardup"]).max()) for name, found in scores.items()}
    for name, difference in different.items():
        if not difference <= _MOST_DIFFERENT:
            raise InvariantBroken(
                f"{name} and neardup differ by {difference:.2g} in a probability, at most {_MOST_DIFFERENT:g} is "
                "rounding: speeds are not comparable if results differ"
            )
    return {name: float(f"{difference:.1e}") for name, difference in different.items()}
