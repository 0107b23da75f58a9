"""Whitening of network features, which lets a cosine, and a random hyperplane, tell pictures apart.

Features → **projection** → lsh vector: the starting point of fine-tuning. Networks put most of their variance into a
few directions shared by all pictures; giving the leading principal components equal variance (Jégou & Chum, *Negative
Evidences and Co-occurrences in Image Retrieval*, 2012) brings out the others and spreads hyperplane bits evenly.
"""

import numpy as np
from numpy.typing import NDArray

# Measured on labelled pictures, all pairs, best F1: exponent ½ 0.849, ¾ 0.856, 1 0.864; 384 dimensions 0.863.
DIM = 256


def fit_projection(features: NDArray[np.float32], dim: int = DIM) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Fit centring and whitening to the features of diverse pictures.

    Args:
        features: float32 [n, n_features], n well above `dim`.
        dim: number of leading principal components to keep.

    Returns:
        Mean float16 [n_features] and matrix float16 [n_features, dim], scaled so that its largest entry is 1 (vectors
        are normalised afterwards, so the scale is free, and this one uses the full range of float16).
    """
    mean = features.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(np.cov((features - mean).T))
    leading = slice(-1, -dim - 1, -1)
    matrix = directions[:, leading] / np.sqrt(variances[leading])
    # The sign of an eigenvector is arbitrary: make its largest entry positive, so that all machines agree.
    matrix *= np.sign(matrix[np.abs(matrix).argmax(axis=0), np.arange(dim)])
    return mean.astype(np.float16), (matrix / np.abs(matrix).max()).astype(np.float16)
