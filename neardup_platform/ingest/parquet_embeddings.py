"""Images with both embeddings in a Parquet file, each row checked as the worker checks its messages.

`neardup ingest --embeddings` and `neardup ingest-segment` read these files, and `neardup embed` writes them:

| column | type |
|---|---|
| `image_id` | string |
| `lsh`, `pair` | list or fixed-size list of float16, float32 or float64; or binary, little-endian float32 or float16 |
| `lsh_version`, `pair_version` | string: what `neardup embeddings` prints |
| `event_time_ms` | integer, Unix milliseconds |
| `source_uri` | string, may be null or missing |
| `pdq` | string, 64 hexadecimal digits: the PDQ hash of the picture; may be null or missing |
| `pdq_quality` | integer, 0 to 100, with `pdq` |

A file with a column of another type is refused. A bad row is reported by its number, counted from 0, with a reason code
of the dead letters; the other rows are usable.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.errors import BadArtefact, BadMessage
from neardup_platform.ingest.parquet_columns import (
    check_column,
    check_names,
    few,
    integers,
    pdq,
    plain,
    text,
    texts,
    vector,
)
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.terminal_text import one_line
from neardup_platform.wire.validation import checked_embedding, checked_id

# Memory for the rows read at once, estimated from the average of the file.
_PART_BYTES = 256 << 20
_EXAMPLES = 5
_DETAIL_CHARACTERS = 160
_ALWAYS = ("image_id", "lsh", "pair")

Models = Mapping[Kind, ModelSpec]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that the worker would send to the dead letters.

    Attributes:
        row: its number, counted from 0.
        reason: a code of the dead letters.
    """

    row: int
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.reason}: {self.detail[:_DETAIL_CHARACTERS]}"


@dataclass(slots=True)
class BadRows:
    """The number of bad rows by reason, and the first of them."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[BadRow] = field(default_factory=list)

    def add(self, rows: Sequence[BadRow]) -> None:
        """Add rows."""
        self.counts.update(row.reason for row in rows)
        self.examples += rows[: max(0, _EXAMPLES - len(self.examples))]

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self.counts.items()))
        return f"{counts} ({'; '.join(map(str, self.examples))})"


@dataclass(frozen=True, slots=True)
class Part:
    """Rows read at once: the good ones in their order, the bad ones, and the number of the row after the last."""

    end: int
    images: list[JoinedImage]
    bad: list[BadRow]


@dataclass(frozen=True, slots=True)
class Defaults:
    """Values for columns that the file lacks; None: the column is required.

    Attributes:
        version: model version of both kinds.
        time_ms: returns the event time; called once per part.
    """

    version: str | None = None
    time_ms: Callable[[], int] | None = None


class EmbeddingFile:
    """A Parquet file of embeddings.

    Args:
        path: on this machine.
        models: what embeddings must be.
        now_ms: the current time; event times more than a day ahead are refused.
        newer: other accepted model versions, by kind.
        defaults: values for columns that the file lacks.

    Raises:
        BadArtefact: it is not a Parquet file with these columns.
    """

    def __init__(
        self,
        path: Path,
        models: Models,
        now_ms: int,
        newer: Mapping[Kind, Sequence[str]] | None = None,
        defaults: Defaults = Defaults(),
    ) -> None:
        self._models, self._now_ms, self._newer, self._defaults = models, now_ms, newer or {}, defaults
        try:
            self._file = pq.ParquetFile(path)
            schema = self._file.schema_arrow
        except (OSError, ValueError, pa.ArrowException) as error:
            raise BadArtefact(f"it is not a readable Parquet file: {one_line(str(error))}") from error
        versions = [f"{kind}_version" for kind in Kind]
        required = [*_ALWAYS, *(versions if defaults.version is None else [])]
        required += [] if defaults.time_ms else ["event_time_ms"]
        wanted = (*_ALWAYS, *versions, "event_time_ms", "source_uri", "pdq", "pdq_quality")
        check_names(schema.names, wanted)
        if lacking := sorted(set(required) - set(schema.names)):
            raise BadArtefact(f"it lacks the columns {lacking}; it has {few(sorted(set(schema.names)))}")
        self._columns = [name for name in wanted if name in schema.names]
        for name in self._columns:
            check_column(schema, name)
        metadata = self._file.metadata
        self.unpacked_bytes = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def parts(self, rows: int) -> Iterator[Part]:
        """Every row, in order, `rows` at once, fewer if they are large.

        Raises:
            BadArtefact: the file is damaged.
        """
        most = max(1, min(rows, _PART_BYTES * max(1, len(self)) // max(1, self.unpacked_bytes)))
        end = 0
        try:
            for batch in self._file.iter_batches(batch_size=most, columns=self._columns):
                first, end = end, end + len(batch)
                yield self._part(batch, first)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise BadArtefact(f"its rows cannot be read from {end} on: {one_line(str(error))}") from error

    def _part(self, batch: pa.RecordBatch, first: int) -> Part:
        rows = len(batch)
        ids, uris = texts(batch, "image_id"), texts(batch, "source_uri", "")
        hashes, qualities = texts(batch, "pdq"), integers(batch, "pdq_quality").to_pylist()
        versions = {kind: texts(batch, f"{kind}_version", self._defaults.version) for kind in Kind}
        vectors = {kind: plain(batch.column(kind.value)) for kind in Kind}
        if "event_time_ms" in self._columns:
            times_ms: Sequence[Any] = integers(batch, "event_time_ms").to_pylist()
        else:
            times_ms = [self._defaults.time_ms() if self._defaults.time_ms else 0] * rows
        part = Part(first + rows, [], [])
        for row in range(rows):
            try:
                image_id = checked_id(text(ids[row], "bad-id"))
                lsh, pair = (
                    checked_embedding(
                        Embedding(
                            image_id,
                            kind,
                            str(text(versions[kind][row], "other-version") or ""),
                            vector(vectors[kind][row], kind, self._models[kind].dim),
                            times_ms[row],
                            str(text(uris[row], "bad-uri") or ""),
                            pdq=pdq(hashes[row], qualities[row]),
                        ),
                        self._models[kind],
                        self._now_ms,
                        self._newer.get(kind, ()),
                    )
                    for kind in (Kind.LSH, Kind.PAIR)
                )
            except BadMessage as error:
                part.bad.append(BadRow(first + row, error.reason, error.detail))
            else:
                part.images.append(JoinedImage(lsh, pair))
        return part
