"""The features of a pair of images: the input of the classifier, and the explanation of its score.

Rows of two tables → **features** → classifier. Every feature is symmetric: exchanging the two images
changes nothing. The blocks of the pair vector determine the features; each names a part of it and how it is
compared:

    cosine      cosine and mean absolute difference of the parts
    dihedral    parts that are unit DCT spectra ordered [2, 2, s, s] by parity (4·s² entries): likeness upright,
                of the coarse half, and best of the seven turned or mirrored positions; for each two such parts
                of one length also the best likeness across (a whole picture against a crop of it)
    apart       as dihedral, but not across: parts of one length that mean different things
    difference  absolute difference, entry by entry
    level       absolute difference and the smaller of the two, entry by entry: how far the rest can be trusted
    sketch      not here: `second_look.py` lays the two pictures over each other

Mirroring a picture negates the frequencies that are odd along that axis and a diagonal flip transposes the
spectrum, so all eight positions follow from eight partial sums (a property of the DCT-II).

The last features are the gaps √(1 − x) of all likenesses x: near-duplicates have x close to 1, and the root
spreads them (recall at 99% precision on held-out groups: 0.942 with gaps, 0.912 without).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neardup_platform.scoring.compact import Layout, pack
from neardup_platform.scoring.kernels import COSINE, DIFFERENCE, DIHEDRAL, LEVEL, Bits, Plan, compare_pairs, widen_rows
from neardup_platform.scoring.vectors import Float16, ImageVectors, VectorRows

_COMPARISONS = {
    "cosine": COSINE,
    "dihedral": DIHEDRAL,
    "apart": DIHEDRAL,
    "difference": DIFFERENCE,
    "level": LEVEL,
}
SKETCH = "sketch"
_LIKENESSES = ("_cosine", "_upright", "_coarse", "_turned", "_across")


class Block(NamedTuple):
    """Entries start…stop − 1 of the pair vector and how they are compared."""

    name: str
    start: int
    stop: int
    comparison: str


def feature_names(blocks: Sequence[Block]) -> tuple[str, ...]:
    """Returns the names of the features of `pair_features`, in order.

    Raises:
        ValueError: the comparison of a block is unknown, or needs a spectrum that the block is not.
    """
    return _names(tuple(blocks))


@lru_cache
def _names(blocks: tuple[Block, ...]) -> tuple[str, ...]:
    names = ["lsh_cosine", *(name for block in blocks for name in _names_of(block))]
    names += [f"{a.name}_{b.name}_across" for a, b in _comparable(blocks)]
    return (*names, *(f"{name}_gap" for name in names if name.endswith(_LIKENESSES)))


def pair_features(
    a: VectorRows, rows_a: NDArray[np.int64], b: VectorRows, rows_b: NDArray[np.int64], blocks: Sequence[Block]
) -> NDArray[np.float32]:
    """Compares images by row number; symmetric; releases the GIL.

    Args:
        a: vectors of finite values; where they have no compact rows of these blocks, those of the pairs are packed
            first.
        rows_a: int64 [n], each pair's row in `a`; fastest if equal rows are adjacent.
        b: likewise; those of a table have them.
        rows_b: int64 [n], each pair's row in `b`.
        blocks: parts of the pair vector, as on the classifier's card.

    Returns:
        float32 [n, len(feature_names(blocks))]; cosines in −1…1, differences from 0.

    Raises:
        IndexError: a row does not exist.
        ValueError: the dimensions of the two sides differ, or a block exceeds them.
    """
    plan = _plan_of(tuple(blocks), a.pair_dim)
    dims = [(side.lsh.shape[1], side.pair_dim) for side in (a, b)]
    if dims[0] != dims[1]:
        raise ValueError(f"vectors of {dims[0]} and {dims[1]} dimensions, (lsh, pair) of each side, are not compared")
    count = len(rows_a)
    one, rows_a = with_compact(a, _checked_rows(len(a.lsh), rows_a, count), blocks)
    other, rows_b = with_compact(b, _checked_rows(len(b.lsh), rows_b, count), blocks)
    out = np.empty((count, len(feature_names(blocks))), np.float32)
    compare_pairs(_read_only(one.compact), rows_a, _read_only(other.compact), rows_b, a.lsh.shape[1], plan, out)
    return out


def with_compact(
    vectors: VectorRows, rows: NDArray[np.int64], blocks: Sequence[Block]
) -> tuple[VectorRows, NDArray[np.int64]]:
    """Returns vectors with the compact rows that features of these blocks are computed from, and the rows there.

    Those that a table holds serve if they are of the same entries; otherwise vectors are packed: all that are in
    memory, and of a table these rows.

    Args:
        rows: int64 [n], any of `vectors`.

    Raises:
        IndexError: a row does not exist.
    """
    layout = Layout(vectors.lsh.shape[1], compared_entries(blocks))
    if vectors.compact is not None and vectors.compact.shape[1] == layout.width:
        return vectors, rows
    some, which = vectors.read(_checked_rows(len(vectors.lsh), rows, len(rows)))
    return ImageVectors(*some, compact=pack(some.lsh, some.pair, layout)), which


def compared_entries(blocks: Sequence[Block]) -> int:
    """Returns how many of the first entries of the pair vector the features read."""
    return max((block.stop for block in blocks if block.comparison != SKETCH), default=0)


def widened(rows: Float16, which: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns rows of finite float16 by number, as float32 [n, dim].

    Raises:
        IndexError: a row does not exist.
    """
    out = np.empty((len(which), rows.shape[1]), np.float32)
    widen_rows(_bits(rows), _checked_rows(len(rows), which, len(which)), out)
    return out


def _names_of(block: Block) -> Iterator[str]:
    entries = block.stop - block.start
    if block.comparison == "cosine":
        suffixes: Sequence[object] = ("cosine", "distance")
    elif _COMPARISONS.get(block.comparison) == DIHEDRAL:
        suffixes = ("upright", "coarse", "turned")
        if _side(block) ** 2 * 4 != entries:
            raise ValueError(f"block {block.name!r}: {entries} entries are no spectrum of 4·s²")
    elif block.comparison == "difference":
        suffixes = range(entries)
    elif block.comparison == "level":
        suffixes = [f"{entry}_{which}" for entry in range(entries) for which in ("difference", "smaller")]
    elif block.comparison == SKETCH:
        suffixes = ()
    else:
        raise ValueError(f"block {block.name!r}: no comparison {block.comparison!r}")
    return (f"{block.name}_{suffix}" for suffix in suffixes)


def _comparable(blocks: Sequence[Block]) -> list[tuple[Block, Block]]:
    dihedral = [block for block in blocks if block.comparison == "dihedral"]
    return [(a, b) for a, b in combinations(dihedral, 2) if a.stop - a.start == b.stop - b.start]


def _side(block: Block) -> int:
    return int(np.sqrt((block.stop - block.start) // 4))


@lru_cache
def _plan_of(blocks: tuple[Block, ...], pair_dim: int) -> Plan:
    """Returns the blocks as the compiled loops need them."""
    names = feature_names(blocks)
    for block in blocks:
        if not 0 <= block.start < block.stop <= pair_dim:
            raise ValueError(f"block {block.name!r}: entries {block.start}…{block.stop} of {pair_dim}")
    compared = [block for block in blocks if block.comparison != SKETCH]
    # What lies behind the last of them, such as a sketch, is not read.
    read = compared_entries(blocks)
    mirrored, coarse = np.arange(read), np.zeros(read, np.float32)
    rows, feature = [], 1
    for block in compared:
        rows.append((_COMPARISONS[block.comparison], block.start, block.stop - block.start, feature))
        feature += sum(1 for _ in _names_of(block))
        if _COMPARISONS[block.comparison] == DIHEDRAL:
            side, part = _side(block), slice(block.start, block.stop)
            mirrored[part] = mirrored[part].reshape(2, 2, side, side).transpose(1, 0, 3, 2).ravel()
            coarse[part].reshape(4, side, side)[:, : side // 2, : side // 2] = 1
    across = [
        (a.start, b.start, a.stop - a.start, feature + number) for number, (a, b) in enumerate(_comparable(blocks))
    ]
    likenesses = [number for number, name in enumerate(names) if name.endswith(_LIKENESSES)]
    return Plan(
        np.array(rows, np.int64).reshape(-1, 4),
        np.array(across, np.int64).reshape(-1, 4),
        np.array(likenesses, np.int64),
        mirrored,
        coarse,
    )


def _checked_rows(held: int, rows: NDArray[np.int64], expected: int) -> NDArray[np.int64]:
    """Checks row numbers, because the compiled loops do not."""
    if rows.shape != (expected,) or rows.dtype != np.int64:
        raise ValueError(f"rows are {rows.dtype} {list(rows.shape)}, expected int64 [{expected}]")
    if expected and not 0 <= rows.min() <= rows.max() < held:
        raise IndexError(f"rows {rows.min()}…{rows.max()} of a table of {held} images")
    return np.ascontiguousarray(rows)


def _bits(rows: Float16) -> Bits:
    if rows.dtype != np.float16:
        raise ValueError(f"vectors are {rows.dtype}, expected float16")
    return _read_only(rows.view(np.uint16))


def _read_only(rows: NDArray[Any] | None) -> NDArray[Any]:
    """Returns rows always of one type, so that the loops are compiled once for mapped and other rows."""
    view = np.ascontiguousarray(rows)[:]
    view.flags.writeable = False
    return view
