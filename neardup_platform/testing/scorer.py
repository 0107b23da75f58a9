"""A pair scorer that needs no trained classifier."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from neardup_platform.records import Kind, ModelSpec
from neardup_platform.scoring.match_kinds import Judged
from neardup_platform.scoring.threshold_table import ThresholdTable
from neardup_platform.scoring.vectors import Float16, ImageVectors, VectorRows
from neardup_platform.testing.images import MODELS


class CosineScorer:
    """Scores a pair by the cosine of its `lsh` vectors, clipped to 0…1; see `PairScorer`.

    With a table of thresholds, an image is undistinctive if the first entry of its `lsh` vector is negative.

    Args:
        version: named in every decision.
        threshold: pair score of a match.
        head_threshold: pair score required against the head.
        required_models: the embeddings that it scores.
        sketch: which entries of the pair vector are a sketch.
        threshold_table: thresholds by distinctiveness and corpus size; None for the same everywhere.
    """

    def __init__(
        self,
        version: str = "cosine",
        threshold: float = 0.9,
        head_threshold: float = 0.8,
        required_models: Mapping[Kind, ModelSpec] = MODELS,
        sketch: slice = slice(0, 0),
        threshold_table: ThresholdTable | None = None,
    ) -> None:
        self.version = version
        self.threshold = threshold
        self.head_threshold = head_threshold
        self.required_models = dict(required_models)
        self.passed_over = None
        self.sketch = sketch
        self.threshold_table = threshold_table

    def explain(self, a: VectorRows, row_a: int, b: VectorRows, row_b: int) -> tuple[float, dict[str, float]]:
        """See `PairScorer`; there is no second look."""
        return float(self.score(a, np.array([row_a]), b, np.array([row_b]))[0]), {}

    def score(
        self, a: VectorRows, rows_a: NDArray[np.int64], b: VectorRows, rows_b: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """See `PairScorer`."""
        return _cosines(a.lsh[rows_a], b.lsh[rows_b]).clip(0, 1)

    def undistinctive(self, vectors: ImageVectors) -> NDArray[np.bool_]:
        """See `PairScorer`."""
        return np.asarray((vectors.lsh[:, 0] < 0) & (self.threshold_table is not None), np.bool_)

    def judge(self, a: VectorRows, rows_a: NDArray[np.int64], b: VectorRows, rows_b: NDArray[np.int64]) -> Judged:
        """See `PairScorer`; no kind is claimed."""
        return Judged(self.score(a, rows_a, b, rows_b), np.zeros(len(rows_a), np.uint8))


def _cosines(a: Float16, b: Float16) -> NDArray[np.float32]:
    """Cosines of rows, float32 [n]; 0 where one is all zeros."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosines = np.zeros(len(x), np.float32)
    np.divide((x * y).sum(axis=1), norms, out=cosines, where=norms > 0)
    return cosines
