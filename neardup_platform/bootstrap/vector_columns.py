"""Vectors of a Parquet column as one float16 array, each checked by the rules of `wire/validation.py`. Pure."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neardup_platform.bootstrap.half_kernels import lengths
from neardup_platform.bootstrap.row_checks import CODES, Codes, Mask
from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_columns import plain, rows_of_dimension
from neardup_platform.records import Kind
from neardup_platform.wire.validation import VECTOR_FAULTS, vector_faults

Vectors = NDArray[np.float16]
_FAULTS = np.array([CODES[fault] for fault in VECTOR_FAULTS], np.uint8)
_DIGEST_SEED = 1


def vectors_of(column: pa.Array, kind: Kind, dim: int) -> tuple[Vectors, Codes]:
    """The vectors of n rows.

    Args:
        column: of a type that `check_column` accepts.

    Returns:
        float16 [n, dim], as the store keeps them, zeros where a row has no good vector; they may be those of the
        column, read-only. And uint8 [n], the reason code of each row, 0 where its vector is good or null.
    """
    column = plain(column)
    reasons = np.zeros(len(column), np.uint8)
    there = column.is_valid().to_numpy(zero_copy_only=False)
    reasons[there] = CODES["bad-dimension"]
    # The pages of this are not touched where the values of the column are returned as they are.
    vectors = np.zeros((len(column), dim), np.float16)
    for rows, values in rows_of_dimension(column, dim):
        known = lengths(values) if values.dtype == np.float16 else None
        reasons[rows] = _FAULTS[vector_faults(values, kind, known)]
        good = reasons[rows] == 0
        if good.all() and len(rows) == len(column) and values.dtype == np.float16:
            return values, reasons
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
