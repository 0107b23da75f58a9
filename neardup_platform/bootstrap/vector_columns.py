"""Vectors of a Parquet column as one float16 array, each checked by the rules of `wire/validation.py`. Pure."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neardup_platform.bootstrap.row_checks import CODES, Codes, Mask
from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_columns import plain
from neardup_platform.records import Kind
from neardup_platform.wire.validation import VECTOR_FAULTS, vector_faults

Vectors = NDArray[np.float16]
Floats = NDArray[Any]
_FAULTS = np.array([CODES[fault] for fault in VECTOR_FAULTS], np.uint8)
_DIGEST_SEED = 1


def vectors_of(column: pa.Array, kind: Kind, dim: int) -> tuple[Vectors, Codes]:
    """The vectors of n rows.

    Args:
        column: of a type that `check_column` accepts.

    Returns:
        float16 [n, dim], as the store keeps them, zeros where a row has no good vector; and uint8 [n], the reason code
        of each row, 0 where its vector is good or null.
    """
    column = plain(column)
    vectors, reasons = np.zeros((len(column), dim), np.float16), np.zeros(len(column), np.uint8)
    there = column.is_valid().to_numpy(zero_copy_only=False)
    reasons[there] = CODES["bad-dimension"]
    for rows, values in _of_dimension(column, there, dim):
        reasons[rows] = _FAULTS[vector_faults(values, kind)]
        good = reasons[rows] == 0
        vectors[rows[good]] = values[good]
    return vectors, reasons


def check_present(column: pa.Array, present: Mask, file: str, rows: NDArray[np.int64], kind: Kind) -> None:
    """Refuse a null vector that the statistics of its row group deny: it would count as a vector of zeros.

    Args:
        present: bool [n]: whether a row has the embedding, as far as was said before its vector was read.
        file: name, for the message.
        rows: int64 [n]: their numbers in the file.

    Raises:
        BadArtefact: names the row.
    """
    wrong = plain(column).is_valid().to_numpy(zero_copy_only=False) != present
    if wrong.any():
        raise BadArtefact(
            f"{file}: row {rows[wrong][0]}: its {kind} vector is null, which the statistics of "
            "its row group deny, so nothing is loaded: write the file again, with another tool or without statistics"
        )


def digests_of(vectors: Vectors) -> NDArray[np.uint64]:
    """A digest of each row, uint64 [n]: equal vectors have equal digests, others almost certainly different ones."""
    # 0 and -0 are the same value.
    bits = (vectors + np.float16(0)).view(np.uint16).astype(np.uint64) + 1
    weights = np.random.default_rng(_DIGEST_SEED).integers(1, 2**63, vectors.shape[1], np.uint64)
    digests: NDArray[np.uint64] = (bits * bits * weights).sum(axis=1, dtype=np.uint64)
    return digests


def _of_dimension(column: pa.Array, there: Mask, dim: int) -> list[tuple[NDArray[np.intp], Floats]]:
    """The rows whose vectors have the right length, with their values [rows, dim], in which nulls are NaN."""
    kind = column.type
    if pa.types.is_null(kind):
        return []
    if pa.types.is_fixed_size_list(kind):
        return [_listed(column, there & (kind.list_size == dim), dim)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_listed(column, _equal(pc.list_value_length(column), dim), dim)]
    column = column.cast(pa.large_binary())
    dtypes = (np.dtype("<f4"), np.dtype("<f2"))
    return [_packed(column, _equal(pc.binary_length(column), dim * dtype.itemsize), dim, dtype) for dtype in dtypes]


def _listed(column: pa.Array, fits: Mask, dim: int) -> tuple[NDArray[np.intp], Floats]:
    numbers = column.filter(pa.array(fits)).flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float32) if numbers.dtype == np.float64 else numbers
    return np.flatnonzero(fits), numbers.reshape(-1, dim)


def _packed(column: pa.Array, fits: Mask, dim: int, dtype: np.dtype[np.floating]) -> tuple[NDArray[np.intp], Floats]:
    rows = np.flatnonzero(fits)
    if not len(rows):
        return rows, np.empty((0, dim), dtype)
    chosen = column.filter(pa.array(fits))
    start = int(np.frombuffer(chosen.buffers()[1], np.int64)[chosen.offset])
    return rows, np.frombuffer(chosen.buffers()[2], dtype, len(rows) * dim, start).reshape(-1, dim)


def _equal(lengths: pa.Array, length: int) -> Mask:
    mask: Mask = pc.fill_null(pc.equal(lengths, length), False).to_numpy(zero_copy_only=False)
    return mask
