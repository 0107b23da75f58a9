"""Vectors of logged embeddings. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_DTYPES = {"float16": "<f2", "float32": "<f4"}


def decoded_vectors(
    dtypes: Sequence[str], vectors: Sequence[bytes], dim: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The vectors of some rows; what the worker refuses is left out.

    Returns:
        The rows they are of, int64 [n], and the vectors, float32 [n, dim], each finite and longer than 0.
    """
    found = [
        np.frombuffer(vector, _DTYPES[dtype]) if dtype in _DTYPES and len(vector) % 4 == 0 else np.empty(0)
        for dtype, vector in zip(dtypes, vectors, strict=True)
    ]
    rows = np.array([row for row, vector in enumerate(found) if len(vector) == dim], np.int64)
    kept = np.array([found[row] for row in rows], np.float32).reshape(-1, dim)
    lengths = np.linalg.norm(kept, axis=1)
    good = np.isfinite(lengths) & (lengths > 0)
    return rows[good], kept[good]


def of_length_1(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The directions of vectors, float32 [n, dim]."""
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
