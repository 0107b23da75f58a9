"""A small pipeline for tests: real term space, index and decision rule; pair scores from the cosine alone."""

import numpy as np
from numpy.typing import NDArray

from neardup_platform.corpus import Corpus
from neardup_platform.learning.terms.fitting import fit_term_space
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Pipeline
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.scoring.vectors import ImageVectors, MemoryVectors
from neardup_platform.settings import TermSettings
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex, open_index

LSH_DIM, PAIR_DIM = 16, 4
MODELS = {Kind.LSH: ModelSpec("test", LSH_DIM), Kind.PAIR: ModelSpec("test", PAIR_DIM)}
_SAMPLE = np.random.default_rng(0).standard_normal((300, LSH_DIM)).astype(np.float32)
SPACE: TermSpace = fit_term_space(_SAMPLE, "test", tables=32, bits=6, whitening=0.0, seed=1)


class CosineScorer:
    """Pair score = cosine of the `lsh` vectors, clipped to 0…1."""

    version = "cosine"
    threshold = 0.9
    head_threshold = 0.8

    def score(
        self, a: ImageVectors, rows_a: NDArray[np.int64], b: ImageVectors, rows_b: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        x, y = a.lsh[rows_a].astype(np.float32), b.lsh[rows_b].astype(np.float32)
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        return np.clip((x * y).sum(axis=1) / norms, 0, 1).astype(np.float32)


def memory_index(source: str = "") -> TermIndex:
    return open_index(None, SPACE, TermSettings(), source)


def small_pipeline(corpus: Corpus | None = None) -> Pipeline:
    corpus = corpus or Corpus(SPACE, memory_index(), MemoryVectors(LSH_DIM, PAIR_DIM))
    return Pipeline(SPACE, CosineScorer(), corpus, Matching(50, 1, 0.9, 0.8))


def image(image_id: str, lsh: NDArray[np.float32], time_ms: int = 1_600_000_000_000) -> JoinedImage:
    pair = np.ones(PAIR_DIM, np.float32)
    return JoinedImage(
        Embedding(image_id, Kind.LSH, "test", lsh.astype(np.float32), time_ms, f"s3://pictures/{image_id}"),
        Embedding(image_id, Kind.PAIR, "test", pair, time_ms),
    )


def families(count: int, copies: int, seed: int = 5, noise: float = 0.1) -> list[JoinedImage]:
    """`count` unrelated images, each followed sooner or later by `copies` noisy copies, shuffled."""
    rng = np.random.default_rng(seed)
    images = []
    for family in range(count):
        vector = rng.standard_normal(LSH_DIM)
        images += [
            image(f"{family}/{copy}", vector + noise * rng.standard_normal(LSH_DIM)) for copy in range(copies + 1)
        ]
    order = rng.permutation(len(images))
    return [images[i] for i in order]
