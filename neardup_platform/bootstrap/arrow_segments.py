"""Images without a given head, in order of event time, as Parquet files of bounded size, which the worker decides.

Vectors of a data set, in the order of its files → written at their places in two mapped files (`vector_targets.py`),
with the texts of each segment beside them (Arrow) → **each segment as Parquet** (`ingest/parquet_embeddings.py`) →
`ingest-segment`.

The two rows of an image meet at its place. The disk holds the vectors once, and the memory the texts of one segment.
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
from neardup_platform.bootstrap.row_checks import Models, binary
from neardup_platform.bootstrap.row_fates import NONE, Fates
from neardup_platform.bootstrap.vector_targets import VectorTarget
from neardup_platform.ingest.parquet_columns import integers
from neardup_platform.records import Kind
from neardup_platform.scoring.vectors import Float16

# Each has a file of texts, all of which are open together; beyond this, segments are larger.
MAX_OPEN = 512
_GROUP_ROWS = 16_384
_TEXTS = pa.schema(
    [
        ("place", pa.int64()),
        # The row has the pair embedding alone.
        ("second", pa.bool_()),
        ("source_uri", pa.large_binary()),
        ("pdq", pa.large_binary()),
        ("pdq_quality", pa.int64()),
    ]
)


class SegmentFiles:
    """Segments that are being written.

    Args:
        folder: existing and empty; used while they are written.
        images: of a segment, at most.

    Raises:
        OSError: the disk has no room for all vectors.
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
        self._vectors = VectorTarget.of_rest(folder, models, len(self._order))
        self._texts: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        self._stack = ExitStack()

    def __len__(self) -> int:
        return (len(self._order) + self._images - 1) // self._images

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._vectors.close()

    def add(self, batch: VectorBatch) -> None:
        """Write the undecided rows of a batch at their places.

        Raises:
            OSError: the disk is full.
        """
        place = self._place[batch.rows]
        for kind in Kind:
            chosen = np.flatnonzero((place != NONE) & self._rows.present[kind][batch.rows])
            if len(chosen):
                self._vectors.write(kind, place[chosen], batch.vectors[kind][chosen])
        chosen = np.flatnonzero(place != NONE)
        # Of one segment after the other, which makes a slice of each.
        chosen = chosen[np.argsort(place[chosen] // self._images, kind="stable")]
        of_segment = place[chosen] // self._images
        segments, starts, counts = np.unique(of_segment, return_index=True, return_counts=True)
        texts = self._texts_of(batch, chosen, place[chosen])
        for segment, start, count in zip(segments.tolist(), starts, counts, strict=True):
            self._writer(segment).write_batch(texts.slice(start, count))

    def files(self) -> Iterator[tuple[Path, int]]:
        """Each segment in order, as a file that exists until the next one is asked for, with its images.

        Raises:
            OSError: the disk is full.
        """
        self._stack.close()
        for segment in range(len(self)):
            path = self._folder / f"{segment:05}.parquet"
            with pa.memory_map(str(self._texts_path(segment))) as file:
                images = self._write(path, pa.ipc.open_stream(file).read_all(), segment * self._images)
            yield path, images
            path.unlink()

    def _texts_of(self, batch: VectorBatch, chosen: NDArray[np.intp], place: NDArray[np.int64]) -> pa.RecordBatch:
        own = binary(batch.columns, "source_uri"), binary(batch.columns, "pdq"), integers(batch.columns, "pdq_quality")
        second = ~self._rows.present[Kind.LSH][batch.rows[chosen]]
        texts = [pa.array(place), pa.array(second), *(column.take(pa.array(chosen)) for column in own)]
        return pa.RecordBatch.from_arrays(texts, schema=_TEXTS)

    def _writer(self, segment: int) -> pa.ipc.RecordBatchStreamWriter:
        if segment not in self._texts:
            sink = self._stack.enter_context(pa.OSFile(str(self._texts_path(segment)), "wb"))
            self._texts[segment] = self._stack.enter_context(pa.ipc.new_stream(sink, _TEXTS))
        return self._texts[segment]

    def _texts_path(self, segment: int) -> Path:
        return self._folder / f"{segment:05}.arrow"

    def _write(self, path: Path, texts: pa.Table, first: int) -> int:
        """Write a segment; returns the number of its images."""
        order = self._order[first : first + self._images]
        end = first + len(order)
        sides = {}
        for second in (False, True):
            # Of every place one row at most, and a row of nulls where there is none.
            at = np.full(len(order), len(texts))
            of_side = np.flatnonzero(texts["second"].to_numpy() == second)
            at[texts["place"].to_numpy()[of_side] - first] = of_side
            sides[second] = texts.take(pa.array(at, mask=at == len(texts)))
        one, other = sides[False], sides[True]
        no_uri = pc.equal(pc.fill_null(one["source_uri"], b""), b"")
        no_hash = pc.is_null(one["pdq"])
        lsh, pair = (vectors[first:end] for vectors in self._vectors.rows)
        content = {
            "image_id": self._rows.image_id.take(pa.array(order)).cast(pa.large_string()),
            Kind.LSH.value: _packed(lsh),
            Kind.PAIR.value: _packed(pair),
            **{f"{kind}_version": pa.repeat(self._models[kind].version, len(order)) for kind in Kind},
            "event_time_ms": pa.array(self._time[order]),
            "source_uri": pc.if_else(no_uri, other["source_uri"], one["source_uri"]).cast(pa.large_string()),
            "pdq": pc.if_else(no_hash, other["pdq"], one["pdq"]).cast(pa.large_string()),
            "pdq_quality": pc.if_else(no_hash, other["pdq_quality"], one["pdq_quality"]),
        }
        pq.write_table(
            pa.table(content),
            path,
            row_group_size=_GROUP_ROWS,
            compression="none",
            use_dictionary=[f"{kind}_version" for kind in Kind],
            write_statistics=False,
        )
        return len(order)


def _packed(vectors: Float16) -> pa.Array:
    """Rows of vectors as binary values."""
    rows, dim = vectors.shape
    content = pa.py_buffer(np.ascontiguousarray(vectors).astype("<f2", copy=False))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(2 * dim), rows, [None, content])
