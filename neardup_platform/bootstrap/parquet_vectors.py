"""The vectors of a data set, read in batches from Parquet, each checked.

Data set → rows and fates (`row_fates.py`) → **vectors of the wanted rows** → found reasons, segments, messages.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neardup_platform.bootstrap.parquet_rows import COLUMNS, Progress, Rows, check_schema
from neardup_platform.bootstrap.parquet_source import OpenSource, Source
from neardup_platform.bootstrap.row_checks import CODES, Codes, Mask, Models
from neardup_platform.bootstrap.row_fates import Fate, Fates
from neardup_platform.bootstrap.vector_columns import Vectors, check_present, digests_of, vectors_of
from neardup_platform.records import Kind

_BATCH_ROWS = 8_192


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """Some rows of a data set, n in number, with their vectors.

    Attributes:
        rows: int64 [n]: their numbers.
        columns: the other columns, as in the file.
        vectors: by kind, float16 [n, dim]; zeros where there is none, or a bad one.
        reasons: uint8 [n]: codes of `row_checks.py`; 0 where the vectors are good or absent.
    """

    rows: NDArray[np.int64]
    columns: pa.RecordBatch
    vectors: Mapping[Kind, Vectors]
    reasons: Codes


def read_vectors(
    sources: Sequence[Source], rows: Rows, models: Models, wanted: Mask, progress: Progress = lambda _: None
) -> Iterator[VectorBatch]:
    """The wanted rows, and others beside them, in order of their numbers.

    Args:
        sources: the same as of `rows`.
        wanted: bool [n]; row groups without such a row are not read.
        progress: called with the number of rows read or passed over since the last call; may raise to stop.

    Raises:
        BadArtefact: a file is damaged; names it.
    """
    for number, source in enumerate(sources):
        first, end = int(rows.starts[number]), int(rows.starts[number + 1])
        if not wanted[first:end].any():
            progress(end - first)
            continue
        with OpenSource(source) as file:
            for batch in _file_vectors(file, first, models, wanted, progress):
                for kind in Kind:
                    present = rows.present[kind][batch.rows]
                    check_present(_column(batch.columns, kind), present, source.name, batch.rows - first, kind)
                yield batch


def found_in_vectors(batches: Iterator[VectorBatch], rows: Rows, fates: Fates) -> Codes:
    """The reasons that vectors give, uint8 [n], for `fates_of`: of bad vectors, and of repeated rows that differ."""
    found = np.zeros(len(rows), np.uint8)
    repeated = fates.rows(Fate.REPEATED)
    compared = np.zeros(len(rows), np.bool_)
    compared[repeated] = compared[fates.first[repeated]] = True
    digests = np.zeros((len(rows), len(Kind)) if len(repeated) else (0, 0), np.uint64)
    for batch in batches:
        found[batch.rows] = batch.reasons
        chosen = np.flatnonzero(compared[batch.rows])
        if len(chosen):
            sides = [digests_of(batch.vectors[kind][chosen]) for kind in Kind]
            digests[batch.rows[chosen]] = np.stack(sides, axis=1)
    if len(repeated):
        lead = fates.first[repeated]
        differs = (digests[repeated] != digests[lead]).any(axis=1) & (found[repeated] == 0) & (found[lead] == 0)
        found[repeated[differs]] = CODES["duplicate"]
    return found


def _file_vectors(
    file: OpenSource, first: int, models: Models, wanted: Mask, progress: Progress
) -> Iterator[VectorBatch]:
    with file.named():
        check_schema(file.parquet.schema_arrow)
    for group in range(file.parquet.metadata.num_row_groups):
        end = first + file.parquet.metadata.row_group(group).num_rows
        if wanted[first:end].any():
            for batch in file.batches(group, COLUMNS, _BATCH_ROWS):
                with file.named():
                    found = _with_vectors(batch, first, models)
                yield found
                first += len(batch)
                progress(len(batch))
        else:
            progress(end - first)
        first = end


def _with_vectors(batch: pa.RecordBatch, first: int, models: Models) -> VectorBatch:
    vectors, reasons = dict[Kind, Vectors](), np.zeros(len(batch), np.uint8)
    for kind in Kind:
        vectors[kind], bad = vectors_of(_column(batch, kind), kind, models[kind].dim)
        reasons = np.where(reasons == 0, bad, reasons)
    return VectorBatch(np.arange(first, first + len(batch)), batch, vectors, reasons)


def _column(batch: pa.RecordBatch, kind: Kind) -> pa.Array:
    return batch.column(kind.value) if kind.value in batch.schema.names else pa.nulls(len(batch))
