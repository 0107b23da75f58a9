"""Fits a term space to a sample: centring, whitening, hyperplanes and cells."""

import faiss
import numpy as np
from numpy.typing import NDArray

from neardup_platform.terms.hyperplanes import MAX_BITS, MAX_CELLS, MAX_TABLES, WORD_BITS, TermSpace, Vectors
from neardup_platform.terms.parts import HEAD_WORDS

# K-means finds no useful cells with fewer images each; measured on 8,489 pictures: with 1,024 cells of 8 images, 99% of
# the true pairs are found in 5% of the corpus (docs/accuracy.md).
SAMPLE_PER_CELL = 8
CELLS = 1_024
_KMEANS_ROUNDS = 20
# Relative to the largest variance: directions that hardly occur in the sample are not amplified without limit.
_VARIANCE_FLOOR = 1e-6


def fit_term_space(
    sample: Vectors, model_version: str, *, tables: int, bits: int, whitening: float, seed: int, cells: int = CELLS
) -> TermSpace:
    """Fit centring, whitening and cells on a sample and draw the hyperplanes.

    Args:
        sample: float32 [n, dim] embeddings of diverse images.
        tables: T, 1…255.
        bits: k, 2…16.
        whitening: exponent of the eigenvalues: 0 leaves the spread as it is, 0.25 evens out half of it on a logarithmic
            scale ("half-whitening"), 0.5 evens it out completely.
        seed: of hyperplanes and k-means; the same seed and sample give the same terms.
        cells: the most cells; fewer if the sample is small.

    Raises:
        ValueError: a number is out of range.
    """
    if bits * -(-tables // WORD_BITS) < HEAD_WORDS:
        raise ValueError(f"tables {tables} of bits {bits} give fewer than {HEAD_WORDS} words: increase either")
    if not (1 <= tables <= MAX_TABLES and 2 <= bits <= MAX_BITS and 1 <= cells <= MAX_CELLS):
        raise ValueError(
            f"tables {tables} must be 1…{MAX_TABLES}, bits {bits} 2…{MAX_BITS} and cells {cells} 1…{MAX_CELLS}"
        )
    unit = sample / np.linalg.norm(sample, axis=1, keepdims=True)
    mean = unit.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = unit - mean
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    whiten = _whitening(centred, whitening)
    planes = np.random.default_rng(seed).standard_normal((len(mean), bits * tables))
    directions = whiten @ planes
    directions /= np.linalg.norm(directions, axis=0)
    centroids = whiten @ _centroids(centred @ whiten, min(cells, max(1, len(sample) // SAMPLE_PER_CELL)), seed)
    return TermSpace(model_version, tables, bits, mean, directions.astype(np.float32), centroids.astype(np.float32))


def _whitening(centred: Vectors, exponent: float) -> NDArray[np.float64]:
    variances, axes = np.linalg.eigh(np.cov(centred, rowvar=False, dtype=np.float64))
    scale = np.maximum(variances, variances.max() * _VARIANCE_FLOOR) ** -exponent
    return np.asarray(axes * (scale / scale.mean()))


def _centroids(whitened: NDArray[np.float64], cells: int, seed: int) -> NDArray[np.float64]:
    """Spherical k-means; float64 [dim, cells], unit columns."""
    unit = (whitened / np.linalg.norm(whitened, axis=1, keepdims=True)).astype(np.float32)
    kmeans = faiss.Kmeans(unit.shape[1], cells, niter=_KMEANS_ROUNDS, spherical=True, seed=seed)
    # Disables faiss's warning about sample sizes: SAMPLE_PER_CELL was chosen by measurement.
    kmeans.cp.min_points_per_centroid = 1
    kmeans.train(np.ascontiguousarray(unit))
    return np.asarray(kmeans.centroids, np.float64).T
