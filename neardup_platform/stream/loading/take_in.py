"""Makes the files of a load part of store, corpus and term index, at one moment between two steps.

Files of the load → **opened and checked beside the store → clusters withheld → one commit with the files** → in memory

The process that built the files compared its images with a checkpoint. What has happened since is compared here: a
cluster is withheld if an image of it was decided or forgotten since, or if an override names one or a hash of a bank
matches one. The commit deletes
its keys again, which it can because files that come later in an ingestion count before earlier ones; its images are
decided one by one afterwards. Everything that takes long is done in a thread: `prepare` opens the tables as a store of
their own, from links, so that an id is looked up there in microseconds, however many the load has.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rocksdict import IngestExternalFileOptions, Rdict

from neardup_platform.bootstrap.bulk_files import IMAGES, TABLES, BulkFiles
from neardup_platform.clusters.override_terms import named
from neardup_platform.corpus import Corpus, Loaded, stored_vectors
from neardup_platform.decide import Labelling
from neardup_platform.errors import BadArtefact, InvariantBroken
from neardup_platform.files import read_sealed, write_sealed
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.scoring.vectors import packed_like
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView, rocksdb_options
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.outcome import Ingestion
from neardup_platform.stream.loading.given_heads import GivenImage
from neardup_platform.wire.codec import decode_pdq

_LOOK_UP = "look-up"
_CHANGES = "changes"
_WITHHELD = "withheld.json"
_CHUNK = 4_096
_SAMPLE = 256


@dataclass(slots=True)
class TakeIn:
    """The files of a load, checked and open.

    Attributes:
        files: the manifest.
        folder: of the load.
        images: a row for each image, mapped from the disk.
        loaded: what the corpus gets; withheld images are taken out of it.
        tables: the tables of the load as a store of their own.
        withheld: ordinals, by head of the clusters that are withheld.
        seen_ordinals: ordinals of the store that were compared.
        forgotten: images that were forgotten when that was compared last.
    """

    files: BulkFiles
    folder: Path
    images: pa.Table
    loaded: Loaded
    tables: StoreView
    seen_ordinals: int
    forgotten: int = 0
    withheld: dict[str, list[int]] = field(default_factory=dict)

    @property
    def ordinals(self) -> list[int]:
        """The ordinals that are withheld, ascending."""
        return sorted(ordinal for members in self.withheld.values() for ordinal in members)

    def withhold(self, image_ids: Iterable[str]) -> None:
        """Withhold the clusters of those of these images that the load has."""
        ids = list(dict.fromkeys(image_ids))
        for at in range(0, len(ids), _CHUNK):
            for record in self.tables.images.find_many(ids[at : at + _CHUNK]):
                if record is not None and record.head not in self.withheld:
                    first = self.files.first_ordinal - self.files.first_sequence
                    members = self.tables.members.all(record.head)
                    self.withheld[record.head] = [first + sequence for sequence, _ in members]

    def compare(self, store: StoreView) -> None:
        """Withhold what images of the store have touched since it was compared last, and what overrides name."""
        reserved = range(self.files.first_ordinal, self.files.end_ordinal)
        upto = store.state().ordinals
        decided = store.vectors.numbered(self.seen_ordinals)
        self.withhold(record.image_id for ordinal, record in decided if ordinal not in reserved)
        self.withhold(image_id for override in store.overrides.all() for image_id in named(override))
        self.seen_ordinals = upto

    def withhold_forgotten(self, store: StoreView, since_ms: int) -> None:
        """Withhold the clusters of images that were forgotten since the checkpoint; hashes all ids if any was."""
        self.forgotten = store.state().forgotten
        if found := store.images.forgotten_since(since_ms):
            self.withhold(image_id for image_id in self.loaded.ids if layout.hash_key(image_id) in found)

    def withhold_matched(self, store: StoreView, labels: Labelling) -> None:
        """Withhold the clusters of images that a hash of a bank matches, which get their labels one by one."""
        if not any(store.hashes.counts().values()):
            return
        for batch in self.images.select(["image_id", "pdq", "pdq_quality"]).to_batches(_CHUNK):
            rows = batch.to_pylist()
            found = labels.matching([decode_pdq(row["pdq"] or b"", row["pdq_quality"] or 0) for row in rows])
            self.withhold(row["image_id"] for row, matched in zip(rows, found, strict=True) if matched)

    def ingestion(self) -> Ingestion:
        """The files of the commit."""
        tables = self.folder / TABLES
        return Ingestion([tables / name for name in self.files.tables], self.folder / _CHANGES)

    def write(self, store: StoreView, batch: Batch, state: store_pb.StoreState) -> None:
        """Put the totals with the load into its commit, and delete the keys of what is withheld.

        Args:
            store: as it is before the commit; what it knows of a withheld image stays.
        """
        joined, left = self.files.digest, 0
        for head, ordinals in self.withheld.items():
            left += self._delete(store, batch, head, ordinals)
        withheld = len(self.ordinals)
        state.images += self.files.images - withheld
        state.clusters += self.files.clusters - len(self.withheld)
        state.digest = layout.digest_after(state.digest, joined, left)
        for name, count in self.files.counters.items():
            state.counters[name] += count
        state.reserved.taken = True

    def _delete(self, store: StoreView, batch: Batch, head: str, ordinals: Sequence[int]) -> int:
        """Delete the keys of a cluster; returns the sum of the digests of its images."""
        cluster, digest = self.tables.clusters.get(head), 0
        rows = list(self.tables.members.all(head))
        known = store.images.find_many([image_id for _, image_id in rows])
        for (sequence, image_id), record in zip(rows, known, strict=True):
            _keep(batch, Table.IMAGES, image_id.encode(), None if record is None else record.SerializeToString())
            batch.delete(Table.MEMBERS, layout.sequence_key(head, sequence))
            batch.delete(Table.HISTORY, layout.sequence_key(image_id, sequence))
            digest += layout.assignment_digest(image_id, head)
        for ordinal in ordinals:
            batch.delete(Table.VECTORS, layout.number_key(ordinal))
        founded = store.clusters.find(head)
        _keep(batch, Table.CLUSTERS, head.encode(), None if founded is None else founded.SerializeToString())
        recent = layout.recent_key(head, cluster.updated_sequence)
        listed = store.clusters.recent_at(recent)
        _keep(batch, Table.RECENT, recent, None if listed is None else layout.number_key(listed))
        return digest

    def without_withheld(self) -> Loaded:
        """Take what is withheld out of what the corpus gets; returns it."""
        rows = np.array(self.ordinals, np.int64) - self.files.first_ordinal
        loaded = self.loaded
        for row in rows.tolist():
            loaded.ids[row] = ""
        loaded.heads[rows], loaded.retired[rows] = -1, True
        loaded.sizes[rows] = loaded.representatives[rows] = 0
        return loaded

    def save_withheld(self) -> None:
        """Note what is withheld, for an attempt after a crash; durable when this returns."""
        write_sealed(self.folder / _WITHHELD, {"ordinals": self.ordinals})

    def close(self) -> None:
        """Close the tables."""
        self.tables.close()
        shutil.rmtree(self.folder / _LOOK_UP, ignore_errors=True)


def _keep(batch: Batch, table: Table, key: bytes, value: bytes | None) -> None:
    """Put the value that the store has under a key of the load's tables, or delete the key."""
    if value is None:
        batch.delete(table, key)
    else:
        batch.put(table, key, value)


def prepare(files: BulkFiles, folder: Path, corpus: Corpus) -> TakeIn:
    """Check and open the files of a load; takes seconds for millions of images.

    Raises:
        BadArtefact: a file is missing or has another size, or they contradict each other.
        SetupError: segments cannot be linked.
    """
    tables = [folder / TABLES / name for name in files.tables]
    segments = [folder / name for name in files.segments]
    sizes = [*files.tables.values(), *files.segments.values()]
    for path, size in zip([*tables, *segments], sizes, strict=True):
        if not path.is_file() or path.stat().st_size != size:
            raise BadArtefact(f"{path} is missing or does not have {size} bytes: send the command again")
    images = read_images(folder)
    if len(images) != files.images:
        raise BadArtefact(f"{folder / IMAGES} has {len(images)} images, the manifest {files.images}")
    heads, retired = (images.column(name).to_numpy() for name in ("head", "retired"))
    count = len(images)
    loaded = Loaded(
        files.first_ordinal,
        _texts(images.column("image_id")),
        heads + files.first_ordinal,
        retired.copy(),
        np.bincount(heads, minlength=count).astype(np.int32),
        np.bincount(heads[~retired], minlength=count).astype(np.int32),
        corpus.index.link(segments),
    )
    taken = TakeIn(files, folder, images, loaded, _open_tables(tables, folder), files.checkpoint_ordinals)
    try:
        _check_sample(taken, corpus)
    except BadArtefact:
        taken.close()
        raise
    return taken


def _check_sample(taken: TakeIn, corpus: Corpus) -> None:
    """Compare a sample of the rows of vectors with the tables."""
    files, rows = taken.files, corpus.vectors.rows
    for ordinal in range(files.first_ordinal, files.end_ordinal, max(1, files.images // _SAMPLE)):
        record, n = taken.tables.vectors.find(ordinal), ordinal - files.first_ordinal
        if record is None or record.image_id != taken.loaded.ids[n]:
            raise BadArtefact(f"the tables of the load have another image for ordinal {ordinal} than {IMAGES}")
        stored = packed_like(rows, stored_vectors([(record.lsh, record.pair)]))
        if any(mine[ordinal].tobytes() != other[0].tobytes() for mine, other in zip(rows.all, stored.all, strict=True)):
            raise BadArtefact(
                f"the vector files have another row for image {record.image_id!r} than the load: cancel it and send it "
                "again"
            )


def _texts(column: pa.ChunkedArray) -> list[str]:
    """The values of a column, made in parts, because the stream waits while one is made."""
    return [text for at in range(0, len(column), _CHUNK) for text in column.slice(at, _CHUNK).to_pylist()]


def read_images(folder: Path) -> pa.Table:
    """The rows of `images.arrow`, mapped.

    Raises:
        BadArtefact: they cannot be read.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(folder / IMAGES))).read_all()
    except (OSError, pa.ArrowException) as error:
        raise BadArtefact(f"{folder / IMAGES} cannot be read: {error}") from error


def _open_tables(files: Sequence[Path], folder: Path) -> StoreView:
    """Open table files as a store of their own, from links."""
    scratch = folder / _LOOK_UP
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    links = [scratch / f"{number}.sst" for number in range(len(files))]
    for file, link in zip(files, links, strict=True):
        os.link(file, link)
    db = Rdict(str(scratch / "db"), rocksdb_options())
    if links:
        options = IngestExternalFileOptions()
        options.set_move_files(True)
        try:
            db.ingest_external_file([str(link) for link in links], options)
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            db.close()
            raise BadArtefact(f"the tables in {folder / TABLES} cannot be opened: {error}") from error
    return StoreView(db)


def withheld_images(
    folder: Path, files: BulkFiles, corpus: Corpus, models: Mapping[Kind, ModelSpec]
) -> Sequence[GivenImage]:
    """The images that were withheld, in their order; their vectors are in the rows of their numbers.

    Raises:
        InvariantBroken: the note is missing.
    """
    noted = read_sealed(folder / _WITHHELD)
    if noted is None:
        raise InvariantBroken(f"{folder / _WITHHELD} is missing: send the command again, which skips what is known")
    ordinals: list[int] = noted["ordinals"]
    if not ordinals:
        return ()
    rows = np.array(ordinals, np.int64) - files.first_ordinal
    images = read_images(folder)
    part = images.take(rows).to_pylist()
    heads = images.column("image_id").take(pa.array([row["head"] for row in part])).to_pylist()
    lsh, pair = (kind[np.array(ordinals)].astype(np.float32) for kind in corpus.vectors.rows)
    return [
        GivenImage(_joined(row, {Kind.LSH: lsh[n], Kind.PAIR: pair[n]}, models), head)
        for n, (row, head) in enumerate(zip(part, heads, strict=True))
    ]


def _joined(
    row: Mapping[str, object], vectors: Mapping[Kind, NDArray[np.float32]], models: Mapping[Kind, ModelSpec]
) -> JoinedImage:
    def embedding(kind: Kind) -> Embedding:
        return Embedding(
            str(row["image_id"]),
            kind,
            models[kind].version,
            vectors[kind],
            int(str(row["event_time_ms"])),
            str(row["source_uri"] or ""),
            pdq=decode_pdq(bytes(row["pdq"] or b""), int(str(row["pdq_quality"] or 0))),  # type: ignore[call-overload]
        )

    return JoinedImage(embedding(Kind.LSH), embedding(Kind.PAIR))
