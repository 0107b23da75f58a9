"""A segment: images with both embeddings in a Parquet file, validated before any of them is decided.

| column | type |
|---|---|
| `image_id` | string, 1…512 bytes without control characters |
| `lsh`, `pair` | list or fixed-size list of float16, float32 or float64; or binary, little-endian float32 or float16 |
| `lsh_version`, `pair_version` | string: what the classifier in force was trained on |
| `event_time_ms` | integer, Unix milliseconds |
| `source_uri` | string, may be null or missing |

Rows are decided in their order. A row that the stream would send to the dead letters is bad for the same reason.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact
from neardup_platform.messages.validation import MAX_COMPONENT, MAX_ID_BYTES, MAX_URI_BYTES
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec

MAX_ROWS = 5_000_000
# What the columns take in memory when unpacked, all in all; rows are read in parts of it.
MAX_UNPACKED_BYTES = 64 << 30
_REQUIRED = ("image_id", "lsh", "pair", "lsh_version", "pair_version", "event_time_ms")
_DAY_MS = 86_400_000
_EXAMPLES = 5

Models = Mapping[Kind, ModelSpec]
Vectors = NDArray[np.float32]


@dataclass(slots=True)
class BadRows:
    """What is wrong with rows of a segment: how many by reason of the dead letters, and some of them."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, row: int, reason: str) -> None:
        """Note a row."""
        self.counts[reason] += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"row {row}: {reason}")

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self.counts.items()))
        return f"{counts} ({'; '.join(self.examples)})"


class Segment:
    """A file of this kind.

    Args:
        path: on this machine.
        models: what embeddings must be.
        now_ms: the clock; event times a day ahead of it are refused.

    Raises:
        BadArtefact: it is no Parquet file with these columns, or too large.
    """

    def __init__(self, path: Path, models: Models, now_ms: int) -> None:
        self._path, self._models, self._now_ms = path, models, now_ms
        try:
            self._file = pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise BadArtefact(f"it is no readable Parquet file: {error}") from error
        names = set(self._file.schema_arrow.names)
        if missing := sorted(set(_REQUIRED) - names):
            raise BadArtefact(f"it lacks the columns {missing}; it has {sorted(names)}")
        self._columns = [*_REQUIRED, *(["source_uri"] if "source_uri" in names else [])]
        metadata = self._file.metadata
        unpacked = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
        if metadata.num_rows > MAX_ROWS or unpacked > MAX_UNPACKED_BYTES:
            raise BadArtefact(
                f"it has {metadata.num_rows} rows and {unpacked} bytes unpacked, at most {MAX_ROWS} and "
                f"{MAX_UNPACKED_BYTES} are taken: cut it into several"
            )

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def check(self) -> BadRows:
        """Look at every row.

        Raises:
            BadArtefact: a column is of another type, or the file is damaged.
        """
        bad = BadRows()
        for _ in self._rows(4_096, bad):
            pass
        return bad

    def images(self, part: int, start: int = 0) -> Iterator[tuple[int, list[JoinedImage]]]:
        """The good rows from row `start` on, in parts; with each the number of rows that it ends at.

        Args:
            part: rows read at once, bad ones included.
            start: a number that an earlier reading with the same `part` gave, or 0.
        """
        return ((end, images) for end, images in self._rows(part, BadRows()) if end > start)

    def _rows(self, part: int, bad: BadRows) -> Iterator[tuple[int, list[JoinedImage]]]:
        end = 0
        try:
            for batch in self._file.iter_batches(batch_size=part, columns=self._columns):
                first, end = end, end + len(batch)
                yield end, self._good(batch, first, bad)
        except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise BadArtefact(f"its rows from {end} on cannot be read: {error}") from error

    def _good(self, batch: pa.RecordBatch, first: int, bad: BadRows) -> list[JoinedImage]:
        halves = {kind: self._vectors(batch, kind) for kind in Kind}
        versions = {kind: batch.column(f"{kind}_version").to_pylist() for kind in Kind}
        ids, times_ms = batch.column("image_id").to_pylist(), batch.column("event_time_ms").to_pylist()
        uris = batch.column("source_uri").to_pylist() if "source_uri" in self._columns else [""] * len(batch)
        images = []
        for row, (image_id, time_ms, uri) in enumerate(zip(ids, times_ms, uris, strict=True)):
            reason = self._flaw(image_id, time_ms, uri or "", {kind: versions[kind][row] for kind in Kind})
            reason = reason or next((flaws[row] for _, flaws in halves.values() if flaws[row]), "")
            if reason:
                bad.add(first + row, reason)
                continue
            lsh, pair = (
                Embedding(image_id, kind, versions[kind][row], halves[kind][0][row], time_ms, uri or "")
                for kind in (Kind.LSH, Kind.PAIR)
            )
            images.append(JoinedImage(lsh, pair))
        return images

    def _flaw(self, image_id: object, time_ms: object, uri: object, versions: Mapping[Kind, object]) -> str:
        """Reason of the dead letters for what is wrong with a row beside its vectors; empty for nothing."""
        if not (isinstance(image_id, str) and 0 < len(image_id.encode()) <= MAX_ID_BYTES and image_id.isprintable()):
            return "bad-id"
        if any(versions[kind] != model.version for kind, model in self._models.items()):
            return "other-version"
        if not isinstance(uri, str) or len(uri) > MAX_URI_BYTES:
            return "bad-uri"
        if not (isinstance(time_ms, int) and 0 < time_ms <= self._now_ms + _DAY_MS):
            return "bad-time"
        return ""

    def _vectors(self, batch: pa.RecordBatch, kind: Kind) -> tuple[Vectors, list[str]]:
        """Vectors of one kind, float32 [rows, dim], and by row what is wrong with them."""
        column, dim = batch.column(kind.value), self._models[kind].dim
        out, flaws = np.zeros((len(batch), dim), np.float32), [""] * len(batch)
        binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
        for row, value in enumerate(column):
            vector = _unpacked(value.as_py(), dim) if binary else _listed(value)
            if vector is None or len(vector) != dim:
                flaws[row] = "bad-dimension"
            elif not np.abs(vector).max(initial=0) <= MAX_COMPONENT:
                flaws[row] = "not-finite"
            elif kind is Kind.LSH and not vector.any():
                flaws[row] = "zero-vector"
            else:
                out[row] = vector
        return out, flaws


def _unpacked(data: bytes | None, dim: int) -> Vectors | None:
    for dtype in ("<f4", "<f2"):
        if data is not None and len(data) == dim * np.dtype(dtype).itemsize:
            return np.frombuffer(data, dtype).astype(np.float32)
    return None


def _listed(value: pa.Scalar) -> Vectors | None:
    """A row of a list column; None where it is no list of numbers without gaps."""
    values = getattr(value, "values", None)
    if values is None or values.null_count or not pa.types.is_floating(values.type):
        return None
    vector: Vectors = values.to_numpy(zero_copy_only=False).astype(np.float32)
    return vector
