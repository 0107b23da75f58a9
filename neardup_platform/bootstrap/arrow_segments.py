"""Images without a given head, sorted by event time into Parquet files of bounded size, which the worker decides.

Vectors of a data set, in the order of its files → spilled by segment to disk (Arrow) → **each segment sorted in memory
and written as Parquet** (`ingest/parquet_embeddings.py`) → `ingest-segment`.

The two rows of an image meet in its segment. The disk holds the vectors once, and the memory one segment.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neardup_platform.bootstrap.parquet_rows import Rows
from neardup_platform.bootstrap.parquet_vectors import VectorBatch
from neardup_platform.bootstrap.row_checks import Mask, Models, binary, integers
from neardup_platform.bootstrap.row_fates import NONE, Fates
from neardup_platform.bootstrap.vector_columns import Vectors
from neardup_platform.records import Kind

# Each is spilled to a file of its own, all of which are open together; beyond this, segments are larger.
MAX_OPEN = 512


class SegmentFiles:
    """Segments that are being written.

    Args:
        folder: existing and empty; used while they are written.
        images: of a segment, at most.
    """

    def __init__(self, folder: Path, rows: Rows, fates: Fates, models: Models, images: int) -> None:
        self._folder, self._rows, self._models = folder, rows, models
        self._order = fates.undecided()
        self._time = fates.event_time_ms
        self._images = max(images, -(-len(self._order) // MAX_OPEN))
        # Of each row the place of its image in the order; -1 where it is not undecided.
        self._place = np.full(len(rows), NONE)
        self._place[self._order] = np.arange(len(self._order))
        paired = self._order[fates.partner[self._order] != NONE]
        self._place[fates.partner[paired]] = self._place[paired]
        self._schema = pa.schema(
            [
                ("place", pa.int64()),
                ("source_uri", pa.large_binary()),
                ("pdq", pa.large_binary()),
                ("pdq_quality", pa.int64()),
                *((kind.value, pa.binary(2 * models[kind].dim)) for kind in Kind),
            ]
        )
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        self._stack = ExitStack()

    def __len__(self) -> int:
        return (len(self._order) + self._images - 1) // self._images

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, batch: VectorBatch) -> None:
        """Spill the undecided rows of a batch.

        Raises:
            OSError: the disk is full.
        """
        place = self._place[batch.rows]
        chosen = np.flatnonzero(place != NONE)
        # Of one segment after the other, which makes a slice of each.
        chosen = chosen[np.argsort(place[chosen] // self._images, kind="stable")]
        segments, starts = np.unique(place[chosen] // self._images, return_index=True)
        table = self._spilled(batch, chosen, place[chosen])
        for segment, start, end in zip(segments.tolist(), starts, [*starts[1:], len(chosen)], strict=True):
            self._writer(segment).write_batch(table.slice(start, end - start))

    def files(self) -> Iterator[tuple[Path, int]]:
        """Each segment in order, as a file that exists until the next one is asked for, with its images.

        Raises:
            OSError: the disk is full.
        """
        self._stack.close()
        for segment in range(len(self)):
            with pa.memory_map(str(self._spill(segment))) as spilled:
                table = pa.ipc.open_stream(spilled).read_all()
                path = self._folder / f"{segment:05}.parquet"
                images = self._write(path, table, segment * self._images)
            self._spill(segment).unlink()
            yield path, images
            path.unlink()

    def _spilled(self, batch: VectorBatch, chosen: NDArray[np.intp], place: NDArray[np.int64]) -> pa.RecordBatch:
        rows = batch.rows[chosen]
        columns = batch.columns.take(pa.array(chosen))
        return pa.RecordBatch.from_arrays(
            [
                pa.array(place),
                *(binary(columns, name) for name in ("source_uri", "pdq")),
                integers(columns, "pdq_quality"),
                *(_packed(batch.vectors[kind][chosen], self._rows.present[kind][rows]) for kind in Kind),
            ],
            schema=self._schema,
        )

    def _writer(self, segment: int) -> pa.ipc.RecordBatchStreamWriter:
        if segment not in self._writers:
            sink = self._stack.enter_context(pa.OSFile(str(self._spill(segment)), "wb"))
            self._writers[segment] = self._stack.enter_context(pa.ipc.new_stream(sink, self._schema))
        return self._writers[segment]

    def _spill(self, segment: int) -> Path:
        return self._folder / f"{segment:05}.arrow"

    def _write(self, path: Path, table: pa.Table, first: int) -> int:
        """Sort the rows of a segment and write them; returns their number."""
        sides = {}
        for kind in Kind:
            side = table.filter(pc.is_valid(table[kind.value]))
            sides[kind] = side.take(pc.sort_indices(side["place"]))
        lsh, pair = sides[Kind.LSH], sides[Kind.PAIR]
        rows = self._order[first : first + len(lsh)]
        no_uri = pc.equal(pc.fill_null(lsh["source_uri"], b""), b"")
        no_hash = pc.is_null(lsh["pdq"])
        content = {
            "image_id": self._rows.image_id.take(pa.array(rows)).cast(pa.large_string()),
            **{kind.value: side[kind.value] for kind, side in sides.items()},
            **{f"{kind}_version": pa.repeat(self._models[kind].version, len(rows)) for kind in Kind},
            "event_time_ms": pa.array(self._time[rows]),
            "source_uri": pc.if_else(no_uri, pair["source_uri"], lsh["source_uri"]).cast(pa.large_string()),
            "pdq": pc.if_else(no_hash, pair["pdq"], lsh["pdq"]).cast(pa.large_string()),
            "pdq_quality": pc.if_else(no_hash, pair["pdq_quality"], lsh["pdq_quality"]),
        }
        pq.write_table(pa.table(content), path, row_group_size=16_384, compression="none")
        return len(rows)


def _packed(vectors: Vectors, there: Mask) -> pa.Array:
    """Vectors as bytes; null where there is none."""
    rows, dim = vectors.shape
    content = pa.py_buffer(np.ascontiguousarray(vectors).astype("<f2", copy=False))
    packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(2 * dim), rows, [None, content])
    return pc.if_else(pa.array(there), packed, None)
