"""The features of pairs, array by array: the reference for `scoring/kernels.py`, and its peer in `neardup bench score`.

Written from the definitions in `scoring/features.py` alone, so that it reveals mistakes in the compiled loops. The same
lines serve NumPy and, on a GPU, `keras.ops` (`keras_resident.py`).
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.features import SKETCH, Block, feature_names

Rows = NDArray[np.float32] | NDArray[np.float16]
Floats = NDArray[np.float32]

# Rows computed at once: the working set of a slice stays in the processor's cache.
_SLICE = 1024
_LEAST_NORM = 1e-12


def numpy_features(lsh_a: Rows, lsh_b: Rows, pair_a: Rows, pair_b: Rows, blocks: Sequence[Block]) -> Floats:
    """Compare row-aligned vectors.

    Args:
        lsh_a, lsh_b: float16 or float32 [n, lsh_dim].
        pair_a, pair_b: float16 or float32 [n, pair_dim].
        blocks: parts of the pair vector.

    Returns:
        float32 [n, len(feature_names(blocks))].
    """
    out = np.empty((len(lsh_a), len(feature_names(blocks))), np.float32)
    for start in range(0, len(lsh_a), _SLICE):
        part = slice(start, start + _SLICE)
        rows = [side[part].astype(np.float32, copy=False) for side in (lsh_a, lsh_b, pair_a, pair_b)]
        out[part] = array_features(np, rows, blocks)
    return out


def array_features(arrays: Any, rows: Sequence[Any], blocks: Sequence[Block]) -> Any:
    """Compare row-aligned arrays.

    Args:
        arrays: `numpy` or `keras.ops`, whose arrays the rows are.
        rows: float32 [n, lsh_dim] of either side, then [n, pair_dim] of either side, or as much of it as is compared.
        blocks: parts of the pair vector.

    Returns:
        float32 [n, len(feature_names(blocks))].
    """
    lsh_a, lsh_b, pair_a, pair_b = rows
    columns = [_cosine(arrays, lsh_a, lsh_b)]
    for block in blocks:
        if block.comparison != SKETCH:
            columns += _compare(arrays, _part(pair_a, block), _part(pair_b, block), block)
    for p, q in _comparable(blocks):
        one_way = _dot(arrays, _part(pair_a, p), _part(pair_b, q))
        columns.append(arrays.maximum(one_way, _dot(arrays, _part(pair_a, q), _part(pair_b, p))))
    names = feature_names(blocks)
    likenesses = [columns[names.index(name.removesuffix("_gap"))] for name in names if name.endswith("_gap")]
    gaps = arrays.sqrt(arrays.maximum(0.0, 1.0 - arrays.stack(likenesses, axis=1)))
    return arrays.concatenate([arrays.stack(columns, axis=1), gaps], axis=1)


def _part(rows: Any, block: Block) -> Any:
    return rows[:, block.start : block.stop]


def _comparable(blocks: Sequence[Block]) -> list[tuple[Block, Block]]:
    dihedral = [block for block in blocks if block.comparison == "dihedral"]
    return [(a, b) for a, b in combinations(dihedral, 2) if a.stop - a.start == b.stop - b.start]


def _compare(arrays: Any, a: Any, b: Any, block: Block) -> list[Any]:
    if block.comparison == "cosine":
        return [_cosine(arrays, a, b), arrays.mean(arrays.abs(a - b), axis=1)]
    entries = block.stop - block.start
    if block.comparison in ("dihedral", "apart"):
        return _dihedral(arrays, a, b, int(np.sqrt(entries // 4)))
    difference = arrays.abs(a - b)
    if block.comparison == "level":
        smaller = arrays.minimum(a, b)
        return [column[:, entry] for entry in range(entries) for column in (difference, smaller)]
    return [difference[:, entry] for entry in range(entries)]


def _dihedral(arrays: Any, a: Any, b: Any, side: int) -> list[Any]:
    quarters = [arrays.reshape(rows, (-1, 4, side * side)) for rows in (a, b)]
    upright = _dot(arrays, *quarters)
    spectrum = arrays.transpose(arrays.reshape(b, (-1, 2, 2, side, side)), (0, 2, 1, 4, 3))
    turned = _dot(arrays, quarters[0], arrays.reshape(spectrum, (-1, 4, side * side)))
    whole = [arrays.sum(sums, axis=1) for sums in (upright, turned)]
    positions = [*_mirrored(upright), whole[1], *_mirrored(turned)]
    return [whole[0], _coarse_cosine(arrays, a, b, side), arrays.max(arrays.stack(positions, axis=1), axis=1)]


def _coarse_cosine(arrays: Any, a: Any, b: Any, side: int) -> Any:
    half = side // 2
    if not half:
        return arrays.zeros_like(a[:, 0])
    spectra = (arrays.reshape(rows, (-1, 4, side, side))[:, :, :half, :half] for rows in (a, b))
    return _cosine(arrays, *(arrays.reshape(spectrum, (-1, 4 * half * half)) for spectrum in spectra))


def _mirrored(sums: Any) -> list[Any]:
    """The likeness mirrored along one axis, the other, or both, from sums over frequencies of each parity."""
    even, odd_x, odd_y, odd = (sums[:, parity] for parity in range(4))
    return [even - odd_x + odd_y - odd, even + odd_x - odd_y - odd, even - odd_x - odd_y + odd]


def _dot(arrays: Any, a: Any, b: Any) -> Any:
    """Sums products over the last axis. Not a matrix product elsewhere: a GPU would round its factors to 10 bits."""
    return np.einsum("...d,...d->...", a, b) if arrays is np else arrays.sum(a * b, axis=-1)


def _cosine(arrays: Any, a: Any, b: Any) -> Any:
    norms = arrays.sqrt(_dot(arrays, a, a) * _dot(arrays, b, b))
    return _dot(arrays, a, b) / arrays.maximum(norms, _LEAST_NORM)
