"""The images of a load as columns, in files of its folder (Arrow IPC): what the scan writes and the building reads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neardup_platform.bootstrap.bulk_files import IMAGES_SCHEMA
from neardup_platform.bootstrap.load_order import Reservation
from neardup_platform.bootstrap.parquet_rows import Rows
from neardup_platform.bootstrap.parquet_source import Source
from neardup_platform.bootstrap.parquet_vector_pass import batches, row_groups
from neardup_platform.bootstrap.record_kernels import Images, Numbers, texts_of, unhex
from neardup_platform.bootstrap.row_checks import Mask, binary
from neardup_platform.bootstrap.row_fates import NONE, Fates
from neardup_platform.files import staged_file
from neardup_platform.ingest.parquet_columns import integers
from neardup_platform.progress import Progress
from neardup_platform.wire.validation import PDQ_BYTES

# Columns that the fates do not depend on.
_MORE = ("source_uri", "pdq", "pdq_quality")
# The given heads, of the rest only.
HEAD_ID = "head_id"


class Described:
    """Uri and hash of every row of a data set.

    Attributes:
        uri: `large_binary` [n].
        pdq: `large_binary` [n], hexadecimal digits.
        quality: int64 [n], null where there is no hash.
    """

    def __init__(self, sources: Sequence[Source], rows: int, progress: Progress) -> None:
        parts = []
        for group in row_groups(sources):
            progress("reading uris and hashes", group.first, rows)
            for _, batch in batches(group, ("image_id", *_MORE)):
                parts.append((binary(batch, "source_uri"), binary(batch, "pdq"), integers(batch, "pdq_quality")))
        self.uri, self.pdq, self.quality = (pa.concat_arrays(column) for column in zip(*parts, strict=True))


def images_table(
    rows: Rows, fates: Fates, described: Described, chosen: Numbers, heads: Numbers, retired: Mask
) -> pa.Table:
    """The table of `IMAGES_SCHEMA` of some headed rows, in the order given.

    Args:
        heads: int64 [n], positions of the heads of their clusters; −1 for those without one here.
    """
    other = np.where(fates.partner[chosen] == NONE, chosen, fates.partner[chosen])
    uri = _given_first(described.uri, chosen, other)
    pdq = _given_first(described.pdq, chosen, other)
    quality = _given_first(described.quality, chosen, other)
    columns = [
        rows.image_id.take(pa.array(chosen)).cast(pa.large_string()),
        pa.array(heads),
        pa.array(retired),
        pa.array(fates.event_time_ms[chosen]),
        pc.fill_null(uri, b"").cast(pa.large_string()),
        _from_hex(pdq),
        pc.fill_null(quality, 0).cast(pa.uint8()),
        pa.array(chosen),
        pa.array(other),
    ]
    return pa.Table.from_arrays(columns, schema=IMAGES_SCHEMA)


def head_ids(rows: Rows, fates: Fates, chosen: Numbers) -> pa.Array:
    """The given heads of headed rows, `large_string`."""
    return rows.head.take(pa.array(fates.head[chosen])).cast(pa.large_string())


def write_table(table: pa.Table, path: Path) -> None:
    """Write a file, durably, as a single batch.

    Raises:
        OSError: the disk is full or broken.
    """
    with (
        staged_file(path) as staged,
        pa.OSFile(str(staged), "wb") as out,
        pa.ipc.new_file(out, table.schema) as writer,
    ):
        writer.write_table(table.combine_chunks())


def map_table(path: Path) -> pa.Table:
    """Map such a file into memory."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def images_of(table: pa.Table, reservation: Reservation) -> Images:
    """What the tables say of the images of a mapped file, most of it not copied."""
    return Images(
        texts_of(_column(table, "image_id")),
        _numbers(table, "head"),
        _column(table, "retired").to_numpy(zero_copy_only=False),
        _numbers(table, "event_time_ms"),
        texts_of(_column(table, "source_uri")),
        texts_of(_column(table, "pdq")),
        _column(table, "pdq_quality").to_numpy(),
        reservation.first_ordinal,
        reservation.first_sequence,
        reservation.decided_ms,
    )


def places_of(tables: Sequence[pa.Table], column: str, rows: int) -> list[Numbers]:
    """Of each table, which of its rows a row of the data set is: int64 [rows], −1 where it is none.

    Args:
        column: `row` or `pair_row`.
    """
    places = []
    for table in tables:
        place = np.full(rows, NONE)
        place[_numbers(table, column)] = np.arange(len(table))
        places.append(place)
    return places


def _column(table: pa.Table, name: str) -> pa.Array:
    chunks = table.column(name).chunks
    return chunks[0] if chunks else pa.array([], table.schema.field(name).type)


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = _column(table, name).to_numpy()
    return numbers


def _given_first(values: pa.Array, chosen: Numbers, other: Numbers) -> pa.Array:
    """The value of each row, or if it has none, of the other row of its image."""
    own = values.take(pa.array(chosen))
    if (chosen == other).all():
        return own
    return pc.coalesce(own, values.take(pa.array(other)))


def _from_hex(digits: pa.Array) -> pa.Array:
    """Hashes, `large_binary`, of their hexadecimal digits; null stays null."""
    given = digits.is_valid().to_numpy(zero_copy_only=False)
    sizes = np.where(given, PDQ_BYTES, 0)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    data = np.zeros(int(starts[-1]), np.uint8)
    unhex(texts_of(digits), starts, data)
    buffers = [None, pa.py_buffer(starts), pa.py_buffer(data)]
    hashes = pa.Array.from_buffers(pa.large_binary(), len(digits), buffers)
    return hashes if given.all() else pc.if_else(pa.array(given), hashes, None)
