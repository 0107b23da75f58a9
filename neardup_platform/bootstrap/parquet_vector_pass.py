"""Reads the vectors of a data set, once, and writes each at its place in files of rows.

Data set on S3 → row group by row group: **checked, as float16** → rows of the worker's vector files, and of the files
of the rest (vector_targets.py). A data set in the order of its decisions is written sequentially; in any other order it
takes a call of the system for each row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from neardup_platform.bootstrap.parquet_source import OpenSource, Source
from neardup_platform.bootstrap.record_kernels import Numbers
from neardup_platform.bootstrap.row_checks import REASON_NAMES, Models
from neardup_platform.bootstrap.row_fates import NONE
from neardup_platform.bootstrap.vector_columns import check_present, vectors_of
from neardup_platform.bootstrap.vector_targets import VectorTarget
from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_columns import plain
from neardup_platform.records import Kind

_BATCH_ROWS = 4_096
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
        file: open until the next file is asked for.
        number: in its file.
        first: number of its first row in the data set.
        first_in_file: the same in its file.
        rows: number of its rows.
    """

    file: OpenSource
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
        with OpenSource(source) as file:
            first_in_file, metadata = 0, file.parquet.metadata
            for number in range(metadata.num_row_groups):
                rows = metadata.row_group(number).num_rows
                yield RowGroup(file, number, first + first_in_file, first_in_file, rows)
                first_in_file += rows
        first += first_in_file


def batches(group: RowGroup, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows of a row group, some at once, each batch with the number of its first row in the row group.

    Raises:
        BadArtefact: the file is damaged.
    """
    at = 0
    for batch in group.file.batches(group.number, columns, _BATCH_ROWS):
        yield at, batch
        at += len(batch)


def compressed_share(sources: Sequence[Source]) -> float:
    """What compression leaves of the vectors, 0…1, if all are compressed as the store compresses; otherwise 1.

    Raises:
        BadArtefact: a file is not a Parquet file.
    """
    names, packed, unpacked = [kind.value for kind in Kind], 0, 0
    for group in row_groups(sources):
        metadata = group.file.parquet.metadata.row_group(group.number)
        columns = [metadata.column(number) for number in range(metadata.num_columns)]
        for column in columns:
            if column.path_in_schema.split(".", maxsplit=1)[0] not in names:
                continue
            if column.compression != "SNAPPY":
                return 1.0
            packed += column.total_compressed_size
            unpacked += column.total_uncompressed_size
    return min(1.0, _STORE_MARGIN * packed / unpacked) if unpacked else 1.0


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
            column = plain(batch.column(kind.value))
            column = column if len(chosen) == len(batch) else column.take(pa.array(chosen))
            rows = group.first_in_file + at + chosen
            check_present(column, np.ones(len(rows), np.bool_), group.file.name, rows, kind)
            vectors, reasons = vectors_of(column, kind, dim)
            if reasons.any():
                wrong = np.flatnonzero(reasons)[0]
                reason = REASON_NAMES[reasons[wrong]]
                raise BadArtefact(
                    f"{group.file.name}: row {rows[wrong]}: {reason}: its {kind} vector is refused, so nothing is "
                    "loaded: correct it, or skip bad rows"
                )
            place.target.write(kind, images[chosen], vectors)
        yield group.first + at + len(batch)
