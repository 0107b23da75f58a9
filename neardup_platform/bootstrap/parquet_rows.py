"""The rows of a data set without their vectors, read from Parquet into columns in memory.

Data set → **narrow columns of every row, each row checked by itself** → fate of each row (`row_fates.py`).

| column | type |
|---|---|
| `image_id` | string |
| `head` | string, may be null or missing: the image id of the head of its cluster |
| `lsh`, `pair` | list or fixed-size list of float16, float32 or float64; or binary, little-endian float32 or float16 |
| `lsh_version`, `pair_version` | string: what `neardup embeddings` prints; needed where the embedding is given |
| `event_time_ms` | integer, Unix milliseconds |
| `source_uri` | string, may be null or missing |
| `pdq` | string, 64 hexadecimal digits: the PDQ hash of the picture; may be null or missing |
| `pdq_quality` | integer, 0 to 100, with `pdq` |

One of the embeddings of a row may be null, and a file may lack one. Other columns are ignored. Rows are numbered from 0
over all files, in the order of their keys. A row takes its id, its head and some 20 bytes in memory. That no row of a
row group lacks an embedding follows from its statistics, so vectors are read here only where these do not say it, or
contradict themselves: polars and Arrow have written null counts that leave out null lists
(https://github.com/apache/arrow/issues/42980). It is checked again when the vectors are read (`vector_columns.py`).

Integers may also be float64, as pandas writes integers with nulls; times may be timestamps with a time zone; strings
may be binary (`ingest/parquet_columns.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neardup_platform.bootstrap.parquet_source import OpenSource, Source
from neardup_platform.bootstrap.row_checks import (
    REASON_NAMES,
    Codes,
    Mask,
    Models,
    binary,
    row_detail,
    row_reasons,
)
from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_columns import check_column, check_names, few, integers, plain, plain_type
from neardup_platform.records import Kind
from neardup_platform.wire.validation import MAX_ID_BYTES

MAX_ROWS = 50_000_000
# Ids and heads of all rows.
MAX_TEXT_BYTES = 8 << 30
NARROW = (
    *("image_id", "head", "lsh_version", "pair_version"),
    *("event_time_ms", "source_uri", "pdq", "pdq_quality"),
)
COLUMNS = (*NARROW, *(kind.value for kind in Kind))
_REQUIRED = ("image_id", "event_time_ms")
_BATCH_ROWS = 65_536
# Of an id that is too long: more than any has, so that it stays another one.
_MOST_KEPT = 2 * MAX_ID_BYTES
# Rows with a detail, of each file and reason; the others have their reason alone.
_DETAILED = 20

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a data set, n in number, without their vectors.

    Attributes:
        files: names of the files.
        starts: int64 [files + 1]: the number of the first row of each file, and n.
        image_id: `large_binary` [n]: valid UTF-8 where the row is good.
        head: `large_binary` [n]: null where no head is given.
        event_time_ms: int64 [n]; 0 where the row has none.
        present: by kind, bool [n]: whether the row has the embedding.
        reasons: uint8 [n]: codes of `row_checks.py`; 0 where the row by itself is good, as far as can be said without
            its vectors.
        details: what is wrong with some of the bad rows.
    """

    files: tuple[str, ...]
    starts: NDArray[np.int64]
    image_id: pa.Array
    head: pa.Array
    event_time_ms: NDArray[np.int64]
    present: Mapping[Kind, Mask]
    reasons: Codes
    details: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.image_id)

    def place(self, row: int) -> tuple[str, int]:
        """The file of a row, and the number of the row in it, from 0."""
        file = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.files[file], row - int(self.starts[file])


def read_rows(
    sources: Sequence[Source],
    models: Models,
    now_ms: int,
    progress: Progress = lambda _: None,
) -> Rows:
    """Read and check every row without its vectors.

    Args:
        sources: in the order of their keys.
        models: what embeddings must be of.
        now_ms: the clock, Unix milliseconds.
        progress: called with the number of rows read since the last call; may raise to stop.

    Raises:
        BadArtefact: a file is not such a Parquet file, there are too many rows, or there are none.
    """
    parts: list[_Part] = []
    starts, size, details = [0], 0, dict[int, str]()
    for source in sources:
        rows = starts[-1]
        with OpenSource(source) as opened:
            for part in _OpenRows(opened, models).parts(now_ms):
                details |= {rows + row: detail for row, detail in part.details.items()}
                rows += len(part.reasons)
                size += part.image_id.nbytes + part.head.nbytes
                _check_size(rows, size)
                parts.append(part)
                progress(len(part.reasons))
        starts.append(rows)
    if not parts:
        raise BadArtefact("the data set has no rows")
    return Rows(
        files=tuple(source.name for source in sources),
        starts=np.array(starts, np.int64),
        image_id=pa.concat_arrays([part.image_id for part in parts]),
        head=pa.concat_arrays([part.head for part in parts]),
        event_time_ms=np.concatenate([part.event_time_ms for part in parts]),
        present={kind: np.concatenate([part.present[kind] for part in parts]) for kind in Kind},
        reasons=np.concatenate([part.reasons for part in parts]),
        details=details,
    )


def check_schema(schema: pa.Schema) -> None:
    """Refuse a file that lacks a column or has one of another type.

    Raises:
        BadArtefact: names the columns.
    """
    check_names(schema.names, COLUMNS)
    kinds = [kind for kind in Kind if kind.value in schema.names]
    required = {*_REQUIRED, *(f"{kind}_version" for kind in kinds)}
    required |= set() if kinds else {"lsh", "pair"}
    if lacking := sorted(required - set(schema.names)):
        raise BadArtefact(f"it lacks the columns {lacking}; it has {few(sorted(set(schema.names)))}")
    for name in (*NARROW, *(kind.value for kind in kinds)):
        if name in schema.names:
            check_column(schema, name)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows read at once."""

    image_id: pa.Array
    head: pa.Array
    event_time_ms: NDArray[np.int64]
    present: Mapping[Kind, Mask]
    reasons: Codes
    details: Mapping[int, str]


class _OpenRows:
    """The rows of an open file, in order."""

    def __init__(self, source: OpenSource, models: Models) -> None:
        self._source, self._models = source, models
        self._schema: pa.Schema = source.parquet.schema_arrow
        with source.named():
            _check_folders(source.name.split("/")[:-1], self._schema.names)
            check_schema(self._schema)

    def parts(self, now_ms: int) -> Iterator[_Part]:
        """Every row, checked by itself."""
        detailed = dict.fromkeys(REASON_NAMES, 0)
        for group in range(self._source.parquet.metadata.num_row_groups):
            for batch, present in self._batches(group):
                with self._source.named():
                    part = _part(batch, present, self._models, now_ms, detailed)
                yield part

    def _batches(self, group: int) -> Iterator[tuple[pa.RecordBatch, Mapping[Kind, Mask]]]:
        """The rows of a row group, with which of them have an embedding."""
        known = {kind: self._all_or_none(group, kind) for kind in Kind}
        mixed = [kind.value for kind, given in known.items() if given is None]
        # Memory of vectors is bounded by smaller batches.
        rows = _BATCH_ROWS // 8 if mixed else _BATCH_ROWS
        for batch in self._source.batches(group, [*NARROW, *mixed], rows):
            present = {
                kind: np.full(len(batch), given)
                if given is not None
                else pc.is_valid(plain(batch.column(kind.value))).to_numpy(zero_copy_only=False)
                for kind, given in known.items()
            }
            yield batch, present

    def _all_or_none(self, group: int, kind: Kind) -> bool | None:
        """Whether all rows of a row group have an embedding, or none has; None where only the column itself says it."""
        schema = self._schema
        if kind.value not in schema.names or pa.types.is_null(schema.field(kind.value).type):
            return False
        if self._source.signed:
            return None
        metadata = self._source.parquet.metadata.row_group(group)
        columns = [metadata.column(number) for number in range(metadata.num_columns)]
        # `lsh.list.element`, but also any column of the name `lsh.x`.
        named = [column for column in columns if column.path_in_schema.split(".", maxsplit=1)[0] == kind.value]
        if len(named) != 1:
            return None
        nested = pa.types.is_nested(plain_type(schema.field(kind.value).type))
        values = metadata.num_rows * (self._models[kind].dim if nested else 1)
        found = named[0].statistics
        counts = found is not None and found.has_null_count and found.null_count == 0
        return True if counts and named[0].num_values == values else None


def _check_folders(folders: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a column that only the names of folders have, as Hive and Spark partition: it would be ignored."""
    for folder in folders:
        name, partitioned, _ = folder.partition("=")
        if partitioned and name in COLUMNS and name not in names:
            raise BadArtefact(
                f"its column {name!r} is only in the name of its folder, {folder[:100]!r}: write it into the file"
            )


def _part(
    batch: pa.RecordBatch, present: Mapping[Kind, Mask], models: Models, now_ms: int, detailed: dict[str, int]
) -> _Part:
    reasons = row_reasons(batch, present, models, now_ms)
    details = dict[int, str]()
    for row in np.flatnonzero(reasons)[: _DETAILED * len(REASON_NAMES)].tolist():
        reason = REASON_NAMES[reasons[row]]
        if detailed[reason] < _DETAILED:
            detailed[reason] += 1
            details[row] = row_detail(batch, row, reason, models, now_ms)
    times = pc.fill_null(integers(batch, "event_time_ms"), 0).to_numpy()
    ids, heads = (_bounded(binary(batch, name)) for name in ("image_id", "head"))
    return _Part(ids, heads, times, present, reasons, details)


def _bounded(ids: pa.Array) -> pa.Array:
    """Ids, of which those that are too long to be any are cut: one may fill a file."""
    longest = pc.max(pc.binary_length(ids)).as_py() or 0
    return pc.binary_slice(ids, 0, _MOST_KEPT) if longest > _MOST_KEPT else ids


def _check_size(rows: int, size: int) -> None:
    if rows > MAX_ROWS or size > MAX_TEXT_BYTES:
        raise BadArtefact(
            f"up to this file the data set has {rows} rows with {size >> 20} MiB of ids and heads; {MAX_ROWS} rows "
            f"and {MAX_TEXT_BYTES >> 20} MiB are allowed: split it into several data sets"
        )
