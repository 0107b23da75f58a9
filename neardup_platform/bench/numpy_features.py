"""The features of pairs in NumPy: the reference for `scoring/kernels.py`, and its peer in `neardup bench score`.

Written from the definitions in `scoring/features.py` alone, array by array, so that it reveals mistakes in the compiled
loops.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.features import SKETCH, Block, feature_names

Rows = NDArray[np.float32] | NDArray[np.float16]
Floats = NDArray[np.float32]

# Signs of the partial sums (even-even, even-odd, odd-even, odd-odd) when one picture is mirrored.
_MIRRORED = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], np.float32)
# Rows computed at once: the working set of a slice stays in the processor's cache.
_SLICE = 1024


def numpy_features(lsh_a: Rows, lsh_b: Rows, pair_a: Rows, pair_b: Rows, blocks: Sequence[Block]) -> Floats:
    """Compare row-aligned vectors.

    Args:
        lsh_a, lsh_b: float16 or float32 [n, lsh_dim].
        pair_a, pair_b: float16 or float32 [n, pair_dim].
        blocks: parts of the pair vector.

    Returns:
        float32 [n, len(feature_names(blocks))].
    """
    names = feature_names(blocks)
    gaps = [name.removesuffix("_gap") for name in names if name.endswith("_gap")]
    similarities = [names.index(name) for name in gaps]
    out = np.empty((len(lsh_a), len(names)), np.float32)
    for start in range(0, len(lsh_a), _SLICE):
        part = slice(start, start + _SLICE)
        rows = out[part]
        columns = _compare_rows(lsh_a[part], lsh_b[part], pair_a[part], pair_b[part], blocks)
        np.stack(columns, axis=1, out=rows[:, : len(columns)])
        np.sqrt(np.maximum(0.0, 1.0 - rows[:, similarities]), out=rows[:, len(columns) :])
    return out


def _compare_rows(lsh_a: Rows, lsh_b: Rows, pair_a: Rows, pair_b: Rows, blocks: Sequence[Block]) -> list[Floats]:
    a, b = (rows.astype(np.float32, copy=False) for rows in (pair_a, pair_b))
    columns = [_cosine(*(rows.astype(np.float32, copy=False) for rows in (lsh_a, lsh_b)))]
    for block in blocks:
        if block.comparison == SKETCH:
            continue
        columns += _compare(a[:, block.start : block.stop], b[:, block.start : block.stop], block.comparison)
    for p, q in _comparable(blocks):
        one_way = _dot(a[:, p.start : p.stop], b[:, q.start : q.stop])
        columns.append(np.maximum(one_way, _dot(a[:, q.start : q.stop], b[:, p.start : p.stop])))
    return columns


def _comparable(blocks: Sequence[Block]) -> list[tuple[Block, Block]]:
    dihedral = [block for block in blocks if block.comparison == "dihedral"]
    return [(a, b) for a, b in combinations(dihedral, 2) if a.stop - a.start == b.stop - b.start]


def _compare(a: Floats, b: Floats, comparison: str) -> list[Floats]:
    if comparison == "cosine":
        return [_cosine(a, b), np.abs(a - b).mean(axis=1)]
    if comparison in ("dihedral", "apart"):
        return _dihedral(a, b)
    if comparison == "level":
        return list(np.stack([np.abs(a - b), np.minimum(a, b)], axis=2).reshape(len(a), -1).T)
    return list(np.abs(a - b).T)


def _dihedral(a: Floats, b: Floats) -> list[Floats]:
    n, side = len(a), int(np.sqrt(a.shape[1] // 4))
    spectra = [rows.reshape(n, 4, side, side) for rows in (a, b)]
    products = spectra[0] * spectra[1]
    upright = products.sum(axis=(2, 3)) @ _MIRRORED.T
    transposed = b.reshape(n, 2, 2, side, side).transpose(0, 2, 1, 4, 3).reshape(n, 4, side * side)
    turned = np.einsum("npk,npk->np", a.reshape(n, 4, -1), transposed) @ _MIRRORED.T
    half = side // 2
    coarse = [rows[:, :, :half, :half].reshape(n, -1) for rows in spectra]
    best_turned = np.maximum(upright[:, 1:].max(axis=1), turned.max(axis=1))
    return [upright[:, 0], _cosine(coarse[0], coarse[1]), best_turned]


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.einsum("nd,nd->n", a, b), dtype=np.float32)


def _cosine(a: Floats, b: Floats) -> Floats:
    norms: Any = np.sqrt(_dot(a, a) * _dot(b, b))
    return np.asarray(_dot(a, b) / np.maximum(norms, 1e-12), dtype=np.float32)
