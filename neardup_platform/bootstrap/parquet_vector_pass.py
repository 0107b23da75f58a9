"""Reads the vectors of a data set, once, and writes each at its place in files of rows.

Data set on S3 → row group by row group: **checked, as float16** → rows of the worker's vector files, and of the files
of the rest (vector_targets.py). A data set in the order of its decisions is written sequentially; in any other order it
takes a call of the system for each row.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.bootstrap.parquet_rows import Source
from neardup_platform.bootstrap.record_kernels import Numbers
from neardup_platform.bootstrap.row_checks import REASON_NAMES, Models
from neardup_platform.bootstrap.row_fates import NONE
from neardup_platform.bootstrap.vector_columns import check_present, vectors_of
from neardup_platform.bootstrap.vector_targets import VectorTarget
from neardup_platform.errors import BadArtefact
from neardup_platform.records import Kind
from neardup_platform.terminal_text import one_line

_BATCH_ROWS = 4_096
# A larger row group is read in pieces, which takes twice the time: only its columns of vectors are larger than a piece.
_GROUP_BYTES = 256 << 20
_PIECE_BYTES = 8 << 20
# The store compresses blocks of 4 KB, a little less than the pages of a file.
_STORE_MARGIN = 1.06


@dataclass(frozen=True, slots=True)
class Place:
    """Where vectors of one kind go.

    Attributes:
        images: int64 [rows of the data set], the image of the target that the vector belongs to; −1 for none.
    """

    kind: Kind
    target: VectorTarget
    images: Numbers


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of a data set.

    Attributes:
        name: of its file.
        number: in its file.
        first: number of its first row in the data set.
        first_in_file: the same in its file.
        rows: number of its rows.
    """

    name: str
    file: pq.ParquetFile
    number: int
    first: int
    first_in_file: int
    rows: int


def row_groups(sources: Sequence[Source]) -> Iterator[RowGroup]:
    """The row groups of all files, in order; each file is open until the next one.

    Raises:
        BadArtefact: a file is not a Parquet file.
    """
    first = 0
    for source in sources:
        with closing(open_vectors(source)) as file:
            first_in_file = 0
            for number in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                yield RowGroup(source.name, file, number, first + first_in_file, first_in_file, rows)
                first_in_file += rows
        first += first_in_file


def batches(group: RowGroup, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of a row group, some at once, each batch with the number of its first row in the row group.

    Raises:
        BadArtefact: the file is damaged.
    """
    present = [name for name in columns if name in group.file.schema_arrow.names]
    at = 0
    try:
        for batch in group.file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group.number], columns=present):
            yield at, batch
            at += len(batch)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadArtefact(f"{group.name}: row group {group.number} cannot be read: {one_line(str(error))}") from error


def compressed_share(sources: Sequence[Source]) -> float:
    """What compression leaves of the vectors, 0…1, if all are compressed as the store compresses; otherwise 1.

    Raises:
        BadArtefact: a file is not a Parquet file.
    """
    names, packed, plain = [kind.value for kind in Kind], 0, 0
    for group in row_groups(sources):
        metadata = group.file.metadata.row_group(group.number)
        columns = [metadata.column(number) for number in range(metadata.num_columns)]
        for column in columns:
            if column.path_in_schema.split(".", maxsplit=1)[0] not in names:
                continue
            if column.compression != "SNAPPY":
                return 1.0
            packed += column.total_compressed_size
            plain += column.total_uncompressed_size
    return min(1.0, _STORE_MARGIN * packed / plain) if plain else 1.0


def write_group(group: RowGroup, models: Models, places: Sequence[Place]) -> Iterator[int]:
    """Write all vectors of a row group that have a place; yields the row of the data set up to which they are written.

    Args:
        models: what the vectors must be of.

    Raises:
        BadArtefact: the file is damaged, or a vector is bad; names the row.
        OSError: the disk is full or broken.
    """
    for at, batch in batches(group, [kind.value for kind in Kind]):
        for place in places:
            images = place.images[group.first + at : group.first + at + len(batch)]
            chosen = np.flatnonzero(images != NONE)
            if not len(chosen):
                continue
            kind, dim = place.kind, models[place.kind].dim
            column = batch.column(kind.value)
            column = column if len(chosen) == len(batch) else column.take(pa.array(chosen))
            rows = group.first_in_file + at + chosen
            check_present(column, np.ones(len(rows), np.bool_), group.name, rows, kind)
            vectors, reasons = vectors_of(column, kind, dim)
            if reasons.any():
                wrong = np.flatnonzero(reasons)[0]
                reason = REASON_NAMES[reasons[wrong]]
                raise BadArtefact(
                    f"{group.name}: row {rows[wrong]}: {reason}: its {kind} vector is refused, so nothing is loaded: "
                    "correct it, or skip bad rows"
                )
            place.target.write(kind, images[chosen], vectors)
        yield group.first + at + len(batch)


def open_vectors(source: Source) -> pq.ParquetFile:
    """Open a file for reading its vectors: row groups of ordinary size as a whole, columns of larger ones in pieces.

    Raises:
        BadArtefact: it is not a Parquet file.
    """
    try:
        file = pq.ParquetFile(source.open(), pre_buffer=False)
        metadata = file.metadata
        largest = max((metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups)), default=0)
        if largest <= _GROUP_BYTES:
            return file
        file.close(force=True)
        return pq.ParquetFile(source.open(), pre_buffer=False, buffer_size=_PIECE_BYTES)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadArtefact(f"{source.name}: it is not a readable Parquet file: {one_line(str(error))}") from error
