"""The second half of a load: writes the rows of vectors and all files, on two cores.

| task, the first that is possible | reads | writes |
|---|---|---|
| what needs the vectors of a part, once these are there | vector files | table VECTORS, segments, files of the rest |
| reading, by one thread at a time | data set, once | rows of vector files: the worker's, of the load, of the rest |
| what needs no vectors | images.arrow | tables IMAGES, HISTORY, MEMBERS, CLUSTERS, RECENT |

A part is complete once it is in the list of parts (parts.py). The disk gets back what the pair vectors of a complete
part of the table VECTORS took in the folder of the load (vector_targets.py).
"""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neardup_platform.bootstrap.bulk_files import IMAGES, TABLES, BulkFiles
from neardup_platform.bootstrap.division import KeyOrders, by_cluster, key_orders
from neardup_platform.bootstrap.load_order import Reservation
from neardup_platform.bootstrap.parquet_rest import write_rest
from neardup_platform.bootstrap.parquet_source import Source
from neardup_platform.bootstrap.parquet_vector_pass import Place, row_groups, write_group
from neardup_platform.bootstrap.parts import Parts
from neardup_platform.bootstrap.record_kernels import sum_assignments
from neardup_platform.bootstrap.rocksdb_tables import (
    Encode,
    clusters_in,
    history_in,
    images_in,
    members_in,
    recent_in,
    vectors_in,
    write_table,
)
from neardup_platform.bootstrap.row_checks import Models
from neardup_platform.bootstrap.row_fates import NONE
from neardup_platform.bootstrap.scanned_rows import images_of, map_table, places_of
from neardup_platform.bootstrap.scanning import REST
from neardup_platform.bootstrap.vector_targets import VectorTarget
from neardup_platform.bootstrap.work import Task, Work
from neardup_platform.progress import Progress
from neardup_platform.records import LEAST_PDQ_QUALITY, Kind
from neardup_platform.scoring.vectors import ImageVectors
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.mmap_segment import memory_segment, open_segment, segment_name, write_segment
from neardup_platform.terms.window import Rows

# Two compute while the third waits for the disk or S3.
THREADS = 3
# Rows of a file of a table, of one with vectors, of a segment before it is merged, and of a file of the rest.
_TABLE_ROWS = 1 << 20
_VECTOR_ROWS = 1 << 16
_SEGMENT_ROWS = 1 << 19
_REST_ROWS = 1 << 16
_HASHED_ROWS = 1 << 10
# Rows of the data set between two syncs of vectors, and so the most that a repeated order reads again, beside a row
# group.
_SYNC_ROWS = 1 << 18
_READ = "vectors"
_PARTS = "parts"


class WrittenFiles:
    """The files of a load.

    Args:
        folder: with the result of the scan.
        vectors: folder of the worker's vector files.
        models: of the vectors.
        space: hashes the `lsh` vectors.
        command_id: of the load.
        progress: called by any thread; what it raises ends the writing.
        made_of: names everything that the files depend on.
    """

    def __init__(
        self,
        folder: Path,
        vectors: Path,
        models: Models,
        space: TermSpace,
        command_id: str,
        reservation: Reservation,
        progress: Progress,
        made_of: str,
    ) -> None:
        self._folder, self._models, self._space = folder, models, space
        self._command_id, self._reservation, self._progress = command_id, reservation, progress
        self._table, self._others = map_table(folder / IMAGES), map_table(folder / REST)
        self._images = images_of(self._table, reservation)
        self._clusters = by_cluster(self._images.heads)
        patterns = (f"{TABLES}/*", f"{_PARTS}/*", "*.segment", "rest-*.parquet")
        self._parts = Parts(folder, made_of, patterns)
        first = reservation.first_ordinal
        self._bulk = VectorTarget.of_worker(vectors, folder, models, first, len(self._table))
        self._rest = VectorTarget.of_rest(folder, models, len(self._others))
        made = [part for part in self._vector_parts() if self._parts.made(_vector_table(part.start)) is not None]
        # Of these, the pair vectors are in the table alone.
        self._released = [part for part in made if self._parts.has(_vector_table(part.start))]
        # The row of the data set up to which vectors are written; all are read again if such a table was lost.
        self._synced = (self._parts.made(_READ) or 0) if len(self._released) == len(made) else 0
        self._work: Work | None = None
        self._done: Counter[str] = Counter()
        self._ordering = threading.Lock()
        self._orders: KeyOrders | None = None
        # The name of the segment that all of them are merged into; None where there are no images.
        self._segment = segment_name(first, first + len(self._table), 0) if len(self._table) else None

    def write(self, sources: Sequence[Source], rows: int) -> None:
        """Write everything that is not there.

        Args:
            sources: the files of the data set.
            rows: of the data set.

        Raises:
            BadArtefact: a file of the data set cannot be read, or a vector is bad.
            OSError: the disk is full or broken.
        """
        waiting = [*self._vector_tasks(), *self._rest_tasks()]
        try:
            self._work = Work(self._read_vectors(sources, rows), self._synced, waiting, self._table_tasks())
            self._work.run(THREADS)
            self._merge_segments()
        finally:
            self._bulk.close()
            self._rest.close()

    def manifest(self, data_set: str, checkpoint_ordinals: int) -> BulkFiles:
        """Describe what is written.

        Args:
            data_set: name and version.
            checkpoint_ordinals: see `BulkFiles`.
        """
        hashes = self._table.column("pdq").is_valid().to_numpy()
        weak = hashes & (self._images.pdq_quality < LEAST_PDQ_QUALITY)
        return BulkFiles(
            data_set=data_set,
            first_ordinal=self._reservation.first_ordinal,
            first_sequence=self._reservation.first_sequence,
            images=len(self._table),
            clusters=len(self._clusters.heads),
            digest=self._digest(),
            checkpoint_ordinals=checkpoint_ordinals,
            tables=self._parts.files(TABLES, ".sst"),
            segments=self._parts.files(".", ".segment"),
            rest=self._parts.files(".", ".parquet"),
            counters={"pdq_missing": int((~hashes).sum()), "pdq_unreliable": int(weak.sum())},
        )

    def _digest(self) -> int:
        limbs = sum_assignments(self._images.ids, self._images.heads, 0, len(self._table)).tolist()
        return sum(int(limb) << (32 * at) for at, limb in enumerate(limbs)) % (1 << 128)

    def _advance(self, doing: str, rows: int, of: int) -> None:
        """Report rows that are done, and end where another thread has failed."""
        if self._work is not None:
            self._work.check()
        self._done[doing] += rows
        self._progress(doing, self._done[doing], of)

    def _read_vectors(self, sources: Sequence[Source], rows: int) -> Iterator[int]:
        """Write every vector of the data set at its place; yields the row up to which they are written."""
        tables, targets = (self._table, self._others), (self._bulk, self._rest)
        places = [
            Place(kind, target, images)
            for kind, column in ((Kind.LSH, "row"), (Kind.PAIR, "pair_row"))
            for target, images in zip(targets, places_of(tables, column, rows), strict=True)
        ]
        pairs = next(place.images for place in places if place.kind is Kind.PAIR and place.target is self._bulk)
        for part in self._released:
            pairs[self._table.column("pair_row").to_numpy()[part.start : part.stop]] = NONE
        read = self._done["reading vectors"] = self._synced
        for group in row_groups(sources):
            end = group.first + group.rows
            if end <= self._synced:
                continue
            for upto in write_group(group, self._models, places):
                self._advance("reading vectors", max(0, upto - read), rows)
                read = max(read, upto)
                yield upto
            if end - self._synced >= _SYNC_ROWS or end == rows:
                self._bulk.sync()
                self._rest.sync()
                self._synced = end
                self._parts.add(_READ, end)

    def _table_tasks(self) -> Iterator[Task]:
        """Write the tables whose keys are ids."""
        images, clusters = len(self._table), len(self._clusters.heads)
        several = int((self._clusters.sizes > 1).sum())
        counts = {"images": images, "history": images, "members": images, "clusters": clusters, "recent": several}
        for table, count in counts.items():
            for first in range(0, count, _TABLE_ROWS):
                end = min(first + _TABLE_ROWS, count)
                yield partial(self._write_table, table, first, end, sum(counts.values()))

    def _write_table(self, table: str, first: int, end: int, of: int) -> None:
        def write(path: Path) -> None:
            write_table(path, first, end, self._encoder(table), lambda n: self._advance("writing tables", n, of))

        self._parts.make(f"{TABLES}/{table}-{first:012d}.sst", write)

    def _encoder(self, table: str) -> Encode:
        images = self._images
        with self._ordering:
            if self._orders is None:
                self._orders = key_orders(images.ids, self._clusters, images)
        orders = self._orders
        match table:
            case "images":
                return images_in(images, orders.images)
            case "history":
                return history_in(images, self._space.version, self._command_id, orders.history)
            case "members":
                return members_in(images, orders.members)
            case "clusters":
                return clusters_in(images, orders.clusters)
            case _:
                return recent_in(images, orders.recent)

    def _vector_parts(self) -> Iterator[range]:
        """The images of each file of the table VECTORS."""
        images = len(self._table)
        for first in range(0, images, _VECTOR_ROWS):
            yield range(first, min(first + _VECTOR_ROWS, images))

    def _vector_tasks(self) -> Iterator[tuple[int, Task]]:
        """Write what has vectors: table VECTORS, and segments of the term index."""
        for part in self._vector_parts():
            yield _last_row(self._table, part), partial(self._write_vectors, part.start, part.stop)
        images = len(self._table)
        for first in range(0, images, _SEGMENT_ROWS):
            part = range(first, min(first + _SEGMENT_ROWS, images))
            yield _last_row(self._table, part), partial(self._write_segment, part.start, part.stop)

    def _write_vectors(self, first: int, end: int) -> None:
        versions = self._models[Kind.LSH].version, self._models[Kind.PAIR].version
        encode, of = vectors_in(self._images, versions, self._bulk.rows), len(self._table)

        def write(path: Path) -> None:
            self._bulk.write_compact(first, end)
            write_table(path, first, end, encode, lambda n: self._advance("writing table of vectors", n, of))

        self._parts.make(_vector_table(first), write)
        self._bulk.release_pairs(first, end)

    def _write_segment(self, first: int, end: int) -> None:
        """Hash the images that are not retired."""

        def write(path: Path) -> None:
            rows = np.flatnonzero(~self._images.retired[first:end]) + first
            parts = []
            for at in range(0, len(rows), _HASHED_ROWS):
                part = rows[at : at + _HASHED_ROWS]
                hashed = self._space.hash_to_keep(self._bulk.rows.lsh[part].astype(np.float32))
                parts.append(Rows.of(self._reservation.first_ordinal + part, hashed, self._space))
                self._advance("hashing images", len(hashed), len(self._table))
            begin, stop = (self._reservation.first_ordinal + row for row in (first, end))
            segment = memory_segment(begin, stop, Rows.joined(parts, self._space.kept_words), self._space.cells)
            write_segment(path.parent, path.name, [segment], np.zeros(end - first, np.uint8), self._space.index_version)

        if self._segment is None or self._parts.made(self._segment) is None:
            self._parts.make(f"{_PARTS}/{first:012d}.segment", write)

    def _merge_segments(self) -> None:
        """Merge the segments into one, which saves the worker from doing so."""
        folder = self._folder / _PARTS
        names = list(self._parts.files(_PARTS, ".segment"))

        def write(path: Path) -> None:
            self._progress("merging segments", 0, 0)
            segments = [open_segment(folder / name, self._space.index_version, verify=False) for name in names]
            write_segment(
                path.parent, path.name, segments, np.zeros(len(self._table), np.uint8), self._space.index_version
            )

        if self._segment is not None:
            self._parts.make(self._segment, write)
            for name in names:
                self._parts.remove(f"{_PARTS}/{name}")

    def _rest_tasks(self) -> Iterator[tuple[int, Task]]:
        """Write the rest as files that can be read like any embeddings."""
        for first in range(0, len(self._others), _REST_ROWS):
            part = range(first, min(first + _REST_ROWS, len(self._others)))
            yield _last_row(self._others, part), partial(self._write_rest, part.start, part.stop)

    def _write_rest(self, first: int, end: int) -> None:
        def write(path: Path) -> None:
            vectors = ImageVectors(*(kind[first:end] for kind in self._rest.rows))
            write_rest(path, self._others.slice(first, end - first), vectors, self._models)
            self._advance("writing the rest", end - first, len(self._others))

        self._parts.make(f"rest-{first:012d}.parquet", write)


def _vector_table(first: int) -> str:
    """The name of a file of the table VECTORS, by its first image."""
    return f"{TABLES}/vectors-{first:012d}.sst"


def _last_row(table: pa.Table, part: range) -> int:
    """The last row of the data set that has vectors of some images."""
    images = table.slice(part.start, len(part))
    return max(int(pc.max(images.column(name)).as_py()) for name in ("row", "pair_row"))
