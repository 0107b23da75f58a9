"""Compiled loops that compare pairs of images (numba): compact rows in, features out, nothing in between.

Rows by number in two tables → **features** → network. The query is prepared once for all of its adjacent candidates; a
candidate's row is unpacked to float32 into the cache, and every feature is summed from there. All loops release the
GIL. As in the term index they use unsigned indices and make no views, and rows are prefetched some pairs ahead, because
candidates are far apart in memory. Functions called for each block of each pair are inlined (`forceinline`): the calls
alone took 40% of the time.

Only sums may be reordered (`_SUMS`), so that they compile to vector instructions. The features of a pair depend on its
two rows alone.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from neardup_platform.intrinsics import prefetch, single_of_half
from neardup_platform.scoring.compact_kernels import Compact, part_bytes, unpack_part

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
# Rows as the bits of float16, because numba has no float16 on CPUs.
Bits = NDArray[np.uint16]

# How a block is compared.
COSINE, DIHEDRAL, DIFFERENCE, LEVEL = 0, 1, 2, 3
# Pairs to prefetch ahead: 0.61 µs a pair without, 0.45 with 1 to 8 (644 entries an image in 16 bits).
_AHEAD = 4
# Bytes of a cache line.
_LINE = 64
_TINY = np.float32(1e-12)
_SUMS = {"reassoc", "contract", "nsz"}
_U = np.uint64
_F = np.float32


class Plan(NamedTuple):
    """Blocks and features as arrays.

    Attributes:
        blocks: int64 [blocks, 4], comparison, first entry, entries, first feature.
        across: int64 [pairs, 4], first entries of two parts of equal length, entries, feature.
        likenesses: int64 [m], the features whose gaps are the last m features.
        mirrored: int64 [read], the entry that moves here when pictures are mirrored along the diagonal; entries of the
            pair vector from `read` on are not compared.
        coarse: float32 [read], 1 in the coarse half of spectra, else 0.
    """

    blocks: I64
    across: I64
    likenesses: I64
    mirrored: I64
    coarse: F32


@njit(nogil=True, cache=True)
def compare_pairs(  # one loop; takes the arrays out of `plan` first, because reading them from it counts references
    a: Compact, rows_a: I64, b: Compact, rows_b: I64, lsh_dim: int, plan: Plan, out: F32
) -> None:
    """Computes the features of pairs, in the order of `features.feature_names`.

    Args:
        a: uint8 [·, width], compact rows of one side.
        rows_a: int64 [n], each pair's row there; fastest if equal rows are adjacent.
        b: of the other side.
        rows_b: int64 [n].
        lsh_dim: entries of the `lsh` vector.
        plan: of the blocks.
        out: float32 [n, features], receives the features.
    """
    blocks, across, likenesses, order, half = plan.blocks, plan.across, plan.likenesses, plan.mirrored, plan.coarse
    pair_dim, count, behind = order.shape[0], _U(rows_a.shape[0]), _U(part_bytes(lsh_dim))
    # The query as it is, with spectra mirrored along the diagonal, and with their coarse half only.
    lsh, pair = np.empty(lsh_dim, np.float32), np.empty(pair_dim, np.float32)
    mirrored, coarse = np.empty(pair_dim, np.float32), np.empty(pair_dim, np.float32)
    squares = np.empty(1 + blocks.shape[0], np.float32)
    other_lsh, other_pair = np.empty(lsh_dim, np.float32), np.empty(pair_dim, np.float32)
    prepared, gaps = np.int64(-1), _U(out.shape[1] - likenesses.shape[0])
    for n in range(count):
        if n + _U(_AHEAD) < count:
            _prefetch_row(b, _U(rows_b[n + _U(_AHEAD)]))
        if rows_a[n] != prepared:
            prepared = rows_a[n]
            unpack_part(a, _U(prepared), _U(0), lsh)
            unpack_part(a, _U(prepared), behind, pair)
            _prepare(lsh, pair, order, half, blocks, mirrored, coarse, squares)
        unpack_part(b, _U(rows_b[n]), _U(0), other_lsh)
        unpack_part(b, _U(rows_b[n]), behind, other_pair)
        product, square = _product_and_square(lsh, other_lsh, _U(0), _U(lsh_dim))
        out[n, _U(0)] = _cosine(product, squares[_U(0)], square)
        for block in range(_U(blocks.shape[0])):
            first, entries, feature = _U(blocks[block, 1]), _U(blocks[block, 2]), _U(blocks[block, 3])
            square_a = squares[block + _U(1)]
            if blocks[block, 0] == COSINE:
                likeness, distance = _cosine_and_distance(pair, other_pair, first, entries, square_a)
                out[n, feature], out[n, feature + _U(1)] = likeness, distance
            elif blocks[block, 0] == DIHEDRAL:
                likeness, rough, turned = _dihedral(pair, mirrored, coarse, half, other_pair, first, entries, square_a)
                out[n, feature], out[n, feature + _U(1)], out[n, feature + _U(2)] = likeness, rough, turned
            else:
                _entry_by_entry(pair, other_pair, first, entries, blocks[block, 0] == LEVEL, out, n, feature)
        for which in range(_U(across.shape[0])):
            p, q, entries = _U(across[which, 0]), _U(across[which, 1]), _U(across[which, 2])
            one_way, back = _product(pair, p, other_pair, q, entries), _product(pair, q, other_pair, p, entries)
            out[n, _U(across[which, 3])] = max(one_way, back)
        for which in range(_U(likenesses.shape[0])):
            out[n, gaps + which] = np.sqrt(max(_F(0), _F(1) - out[n, _U(likenesses[which])]))


@njit(nogil=True, cache=True)
def widen_rows(rows: Bits, which: I64, out: F32) -> None:
    """Copies rows of float16 by number to float32 [n, dim]; several times faster than NumPy's conversion."""
    for n in range(_U(which.shape[0])):
        for d in range(_U(rows.shape[1])):
            out[n, d] = single_of_half(rows[_U(which[n]), d])


@njit(nogil=True, cache=True, forceinline=True)
def _prefetch_row(rows: Compact, row: np.uint64) -> None:
    for at in range(_U(0), _U(rows.shape[1]), _U(_LINE)):
        prefetch(rows, row, at)


@njit(nogil=True, cache=True, forceinline=True)
def _prepare(lsh: F32, pair: F32, order: I64, half: F32, blocks: I64, mirrored: F32, coarse: F32, squares: F32) -> None:
    """Prepares a query for all of its candidates; `squares` receives those of `lsh` and of each block's vector."""
    for d in range(_U(pair.shape[0])):
        mirrored[d] = pair[_U(order[d])]
        coarse[d] = pair[d] * half[d]
    squares[0] = _product(lsh, _U(0), lsh, _U(0), _U(lsh.shape[0]))
    for block in range(_U(blocks.shape[0])):
        first, entries = _U(blocks[block, 1]), _U(blocks[block, 2])
        if blocks[block, 0] == DIHEDRAL:
            squares[block + _U(1)] = _product(coarse, first, coarse, first, entries)
        else:
            squares[block + _U(1)] = _product(pair, first, pair, first, entries)


@njit(nogil=True, cache=True, forceinline=True)
def _entry_by_entry(
    a: F32, b: F32, first: np.uint64, entries: np.uint64, level: bool, out: F32, row: np.uint64, feature: np.uint64
) -> None:
    """Writes absolute differences; for levels each is followed by the smaller entry."""
    for d in range(entries):
        x, y = a[first + d], b[first + d]
        if level:
            out[row, feature + _U(2) * d], out[row, feature + _U(2) * d + _U(1)] = abs(x - y), min(x, y)
        else:
            out[row, feature + d] = abs(x - y)


@njit(nogil=True, cache=True, fastmath=_SUMS, forceinline=True)
def _cosine_and_distance(
    a: F32, b: F32, first: np.uint64, entries: np.uint64, square_a: np.float32
) -> tuple[np.float32, np.float32]:
    product, square = _product_and_square(a, b, first, entries)
    distance = _F(0)
    for d in range(first, first + entries):
        distance += abs(a[d] - b[d])
    return _cosine(product, square_a, square), distance / _F(entries)


@njit(nogil=True, cache=True, forceinline=True)
def _dihedral(
    a: F32, mirrored: F32, coarse: F32, half: F32, b: F32, first: np.uint64, entries: np.uint64, square_a: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """Returns the likeness upright, of the coarse half, and the best of the seven other positions, from partial sums.

    Mirroring a picture along the diagonal transposes its spectrum. Transposing the query's spectrum gives the same
    result as transposing the candidate's, and is done once.
    """
    quarter = entries >> _U(2)
    u0, t0, product, square = _quarter(a, mirrored, coarse, half, b, first, quarter)
    u1, t1, product_1, square_1 = _quarter(a, mirrored, coarse, half, b, first + quarter, quarter)
    u2, t2, product_2, square_2 = _quarter(a, mirrored, coarse, half, b, first + _U(2) * quarter, quarter)
    u3, t3, product_3, square_3 = _quarter(a, mirrored, coarse, half, b, first + _U(3) * quarter, quarter)
    product += product_1 + product_2 + product_3
    square += square_1 + square_2 + square_3
    turned = max(t0 + t1 + t2 + t3, _best_mirrored(t0, t1, t2, t3))
    return u0 + u1 + u2 + u3, _cosine(product, square_a, square), max(turned, _best_mirrored(u0, u1, u2, u3))


@njit(nogil=True, cache=True, fastmath=_SUMS, forceinline=True)
def _quarter(
    a: F32, mirrored: F32, coarse: F32, half: F32, b: F32, first: np.uint64, entries: np.uint64
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Sums frequencies of one parity: products upright and mirrored, product and square of the coarse half."""
    upright, turned, product, square = _F(0), _F(0), _F(0), _F(0)
    for d in range(first, first + entries):
        upright += a[d] * b[d]
        turned += mirrored[d] * b[d]
        product += coarse[d] * b[d]
        square += half[d] * b[d] * b[d]
    return upright, turned, product, square


@njit(nogil=True, cache=True, forceinline=True)
def _best_mirrored(even: np.float32, odd_x: np.float32, odd_y: np.float32, odd: np.float32) -> np.float32:
    """Returns the best for mirroring along one axis, the other, or both: odd frequencies change their sign."""
    best: np.float32 = max(even - odd_x + odd_y - odd, even + odd_x - odd_y - odd, even - odd_x - odd_y + odd)
    return best


@njit(nogil=True, cache=True, fastmath=_SUMS, forceinline=True)
def _product(x: F32, first_x: np.uint64, y: F32, first_y: np.uint64, entries: np.uint64) -> np.float32:
    total = _F(0)
    for d in range(entries):
        total += x[first_x + d] * y[first_y + d]
    return total


@njit(nogil=True, cache=True, fastmath=_SUMS, forceinline=True)
def _product_and_square(x: F32, y: F32, first: np.uint64, entries: np.uint64) -> tuple[np.float32, np.float32]:
    product, square = _F(0), _F(0)
    for d in range(first, first + entries):
        product += x[d] * y[d]
        square += y[d] * y[d]
    return product, square


@njit(nogil=True, cache=True, forceinline=True)
def _cosine(product: np.float32, square_x: np.float32, square_y: np.float32) -> np.float32:
    cosine: np.float32 = product / max(np.sqrt(square_x * square_y), _TINY)
    return cosine


@njit(nogil=True, cache=True)
def crowding(table: F32, vectors: F32, others: NDArray[np.bool_], ranks: I64, out: F32) -> None:
    """Computes the mean cosine of each vector and the rows of a table that are most similar to it, by rank.

    Args:
        table: float32 [rows, dim], of unit norm; read once for all vectors.
        vectors: float32 [n, dim].
        others: bool [n, rows], the rows that count; where fewer count than a rank needs, the least similar one repeats.
        ranks: int64 [m, 2], first and last + 1, from 0, ascending.
        out: float32 [n, m], receives the means; −1 where no row counts.
    """
    count, most = vectors.shape[0], ranks[-1, 1]
    norms, kept = np.empty(count, np.float32), np.zeros(count, np.int64)
    best = np.empty((count, most), np.float32)
    for n in range(count):
        norms[n] = max(np.sqrt(_row_product(vectors, _U(n), vectors[n])), _TINY)
    for row in range(_U(table.shape[0])):
        for n in range(count):
            if others[n, row]:
                kept[n] = _insert(best[n], kept[n], _row_product(table, row, vectors[n]) / norms[n])
    for n in range(count):
        for which in range(ranks.shape[0]):
            total = _F(0)
            for rank in range(ranks[which, 0], ranks[which, 1]):
                total += best[n, max(min(rank, kept[n] - 1), 0)]
            out[n, which] = total / _F(ranks[which, 1] - ranks[which, 0]) if kept[n] else _F(-1)


@njit(nogil=True, cache=True, forceinline=True)
def _insert(best: F32, kept: int, value: np.float32) -> int:
    """Inserts a value into the first `kept` ones, which descend; returns how many there are then."""
    if kept == best.shape[0]:
        if value <= best[kept - 1]:
            return kept
        kept -= 1
    at = kept
    while at > 0 and best[at - 1] < value:
        best[at] = best[at - 1]
        at -= 1
    best[at] = value
    return kept + 1


@njit(nogil=True, cache=True, fastmath=_SUMS, forceinline=True)
def _row_product(table: F32, row: np.uint64, vector: F32) -> np.float32:
    total = _F(0)
    for d in range(_U(vector.shape[0])):
        total += table[row, d] * vector[d]
    return total
