"""Vectors of logged embeddings. Pure."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_DTYPES = {"float16": "<f2", "float32": "<f4"}


def decoded_vectors(dtypes: pa.Array, vectors: pa.Array, dim: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The vectors of some rows, in their order; what the worker refuses is left out.

    Args:
        dtypes: names, string [n].
        vectors: little-endian numbers of that type, binary [n].

    Returns:
        The rows they are of, int64 [m], and the vectors, float32 [m, dim], each finite and longer than 0.
    """
    numbers, found = [np.empty(0, np.int64)], [np.empty((0, dim), np.float32)]
    for dtype, form in _DTYPES.items():
        width = dim * np.dtype(form).itemsize
        whole: Any = pc.and_(pc.equal(dtypes, dtype), pc.equal(pc.binary_length(vectors), width)).fill_null(False)
        numbers.append(np.flatnonzero(whole.to_numpy(zero_copy_only=False)))
        joined = vectors.filter(whole).cast(pa.binary(width)).buffers()[1]
        found.append(np.frombuffer(joined or b"", form).reshape(-1, dim).astype(np.float32))
    rows, kept = np.concatenate(numbers), np.concatenate(found)
    lengths = np.linalg.norm(kept, axis=1)
    good = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
    order = good[np.argsort(rows[good])]
    return rows[order], kept[order]


def of_length_1(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The directions of vectors, float32 [n, dim]."""
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
