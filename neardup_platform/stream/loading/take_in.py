"""Makes the files of a load part of store, corpus and term index, at one moment between two steps.

Files of the load → **opened and checked beside the store → clusters withheld → one commit with the files** → in memory

The process that built the files compared its images with a checkpoint. What has happened since is compared here: a
cluster is withheld if an image of it was decided or forgotten since, or if an override names one or a hash of a bank
matches one. Its keys are deleted again, which is possible because files that come later in an ingestion count before
earlier ones; its images are decided one by one afterwards. The deletions are files, too: those of clusters that are
withheld before the step are written in the thread, so a large cluster does not hold the stream up. So are the pair
vectors of withheld images, which are in the tables alone until then. Everything that
takes long is done in a thread: `prepare` opens the tables as a store of their own, from links, so that an id is looked
up there in microseconds, however many the load has.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rocksdict import IngestExternalFileOptions, Rdict

from neardup_platform.bootstrap.bulk_files import IMAGES, TABLES, BulkFiles
from neardup_platform.bootstrap.vector_targets import read_pairs, write_pairs
from neardup_platform.clusters.override_terms import named
from neardup_platform.corpus import Corpus, Loaded, stored_vectors
from neardup_platform.decide import Labelling
from neardup_platform.errors import BadArtefact, InvariantBroken, SetupError
from neardup_platform.files import read_sealed, write_sealed
from neardup_platform.image_table.ids import PackedIds, packed_text
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec
from neardup_platform.scoring.vectors import holds
from neardup_platform.scoring.warm_rows import read_into_memory
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import StoreView, rocksdb_options
from neardup_platform.store.writer import Changes, write_changes
from neardup_platform.stream.control.outcome import Ingestion
from neardup_platform.stream.loading.given_heads import GivenImage
from neardup_platform.wire.codec import decode_pdq

_LOOK_UP = "look-up"
_CHANGES = "changes"
_DELETIONS = "deletions"
_WITHHELD = "withheld.json"
_CHUNK = 4_096
_SAMPLE = 256
_OPENED = 8


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
        touched: images of the load that were decided by the stream or named since, which the store may know.
        left: by head of the clusters whose deletions are written, the sum of the digests of their images.
        kept: heads of the clusters whose pair vectors are in the folder again.
        deletions: the files with these deletions.
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
    withheld: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    left: dict[str, int] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    deletions: list[Path] = field(default_factory=list)

    @property
    def ordinals(self) -> NDArray[np.int64]:
        """The ordinals that are withheld, ascending."""
        return np.sort(np.concatenate([np.zeros(0, np.int64), *self.withheld.values()]))

    def withhold(self, image_ids: Iterable[str]) -> None:
        """Withhold the clusters of those of these images that the load has."""
        ids = list(dict.fromkeys(image_ids))
        for at in range(0, len(ids), _CHUNK):
            part = ids[at : at + _CHUNK]
            for image_id, record in zip(part, self.tables.images.find_many(part), strict=True):
                if record is None:
                    continue
                self.touched.add(image_id)
                if record.head not in self.withheld:
                    first = self.files.first_ordinal - self.files.first_sequence
                    members = self.tables.members.all(record.head)
                    self.withheld[record.head] = first + np.array([sequence for sequence, _ in members], np.int64)

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
            ids = self.images.column("image_id")
            self.withhold(image_id for image_id in _texts(ids) if layout.hash_key(image_id) in found)

    def withhold_matched(self, store: StoreView, labels: Labelling) -> None:
        """Withhold the clusters of images that a hash of a bank matches, which get their labels one by one."""
        if not any(store.hashes.counts().values()):
            return
        for batch in self.images.select(["image_id", "pdq", "pdq_quality"]).to_batches(_CHUNK):
            rows = batch.to_pylist()
            found = labels.matching([decode_pdq(row["pdq"] or b"", row["pdq_quality"] or 0) for row in rows])
            self.withhold(row["image_id"] for row, matched in zip(rows, found, strict=True) if matched)

    def ingestion(self, write: Callable[[Changes, store_pb.StoreState], None]) -> Ingestion:
        """The files of the commit, and what puts its changes."""
        tables = self.folder / TABLES
        files = [*(tables / name for name in self.files.tables), *self.deletions]
        return Ingestion(files, self.folder / _CHANGES, write)

    def keep_pairs(self) -> None:
        """Write the pair vectors of what is withheld into the folder; takes seconds for 100,000 images.

        Raises:
            SetupError: the disk is full or broken.
        """
        heads = self.withheld.keys() - self.kept
        if not heads:
            return
        try:
            write_pairs(self.folder, (pair for head in heads for pair in self._pairs_of(head)))
        except OSError as error:
            raise SetupError(
                f"keeping the vectors of withheld images in {self.folder} failed: {error}; free some disk under "
                "NEARDUP_HOME and send the command again"
            ) from error
        self.kept |= heads

    def _pairs_of(self, head: str) -> Iterator[tuple[int, bytes]]:
        for ordinal in self.withheld[head].tolist():
            yield ordinal - self.files.first_ordinal, self.tables.vectors.get(ordinal).pair

    def write_deletions(self) -> None:
        """Write the deletions of the clusters that are withheld so far as files; takes seconds for 100,000 images."""
        changes: dict[bytes, bytes | None] = {}
        self.left = {head: self._put_deletions(changes, head) for head in self.withheld}
        self.deletions = write_changes(changes, self.folder / _DELETIONS)

    def write(self, store: StoreView, batch: Changes, state: store_pb.StoreState) -> None:
        """Put the totals with the load into its commit, and delete the keys of what is withheld.

        Args:
            store: as it is before the commit; what it knows of a withheld image stays.
        """
        changes: dict[bytes, bytes | None] = {}
        for head in self.withheld.keys() - self.left.keys():
            self.left[head] = self._put_deletions(changes, head)
        self._keep_known(store, changes)
        for key, value in changes.items():
            if value is None:
                batch.delete(Table(key[:1]), key[1:])
            else:
                batch.put(Table(key[:1]), key[1:], value)
        joined, left = self.files.digest, sum(self.left.values())
        withheld = len(self.ordinals)
        state.images += self.files.images - withheld
        state.clusters += self.files.clusters - len(self.withheld)
        state.digest = layout.digest_after(state.digest, joined, left)
        for name, count in self.files.counters.items():
            state.counters[name] += count
        state.reserved.taken = True

    def _put_deletions(self, changes: dict[bytes, bytes | None], head: str) -> int:
        """Delete the keys of a cluster; returns the sum of the digests of its images."""
        digest = 0
        for sequence, image_id in self.tables.members.all(head):
            changes[Table.IMAGES.value + image_id.encode()] = None
            changes[Table.MEMBERS.value + layout.sequence_key(head, sequence)] = None
            changes[Table.HISTORY.value + layout.sequence_key(image_id, sequence)] = None
            digest += layout.assignment_digest(image_id, head)
        for ordinal in self.withheld[head].tolist():
            changes[Table.VECTORS.value + layout.number_key(ordinal)] = None
        changes[Table.CLUSTERS.value + head.encode()] = None
        changes[Table.RECENT.value + self._recent_key(head)] = None
        return digest

    def _keep_known(self, store: StoreView, changes: dict[bytes, bytes | None]) -> None:
        """Put back what the store knows of images of the load and of clusters that they head."""
        ids = sorted(self.touched)
        for at in range(0, len(ids), _CHUNK):
            part = ids[at : at + _CHUNK]
            for image_id, record in zip(part, store.images.find_many(part), strict=True):
                if record is None:
                    continue
                changes[Table.IMAGES.value + image_id.encode()] = record.SerializeToString()
                founded = store.clusters.find(image_id)
                if founded is None or image_id not in self.withheld:
                    continue
                changes[Table.CLUSTERS.value + image_id.encode()] = founded.SerializeToString()
                recent = self._recent_key(image_id)
                listed = store.clusters.recent_at(recent)
                if listed is not None:
                    changes[Table.RECENT.value + recent] = layout.number_key(listed)

    def _recent_key(self, head: str) -> bytes:
        return layout.recent_key(head, self.tables.clusters.get(head).updated_sequence)

    def without_withheld(self) -> Loaded:
        """Take what is withheld out of what the corpus gets; returns it."""
        rows = self.ordinals - self.files.first_ordinal
        self.loaded = loaded = replace(self.loaded, ids=self.loaded.ids.without(rows))
        loaded.heads[rows], loaded.retired[rows] = -1, True
        loaded.sizes[rows] = loaded.representatives[rows] = 0
        return loaded

    def save_withheld(self) -> None:
        """Note what is withheld, for an attempt after a crash; durable when this returns.

        Raises:
            SetupError: the disk is full or broken.
        """
        self.keep_pairs()
        write_sealed(self.folder / _WITHHELD, {"ordinals": self.ordinals.tolist()})

    def close(self) -> None:
        """Close the tables."""
        self.tables.close()
        shutil.rmtree(self.folder / _LOOK_UP, ignore_errors=True)


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
        _packed(images.column("image_id")),
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


def warm(files: BulkFiles, folder: Path, corpus: Corpus, stopped: Callable[[], bool]) -> None:
    """Bring what every search reads of the images into memory, before one waits for it.

    Args:
        stopped: asked now and then whether to end early.
    """
    for name, size in files.segments.items():
        read_into_memory(folder / name, 0, size, stopped)
    corpus.vectors.warm_part(files.first_ordinal, files.end_ordinal, stopped)


def _check_sample(taken: TakeIn, corpus: Corpus) -> None:
    """Compare a sample of the rows of vectors with the tables."""
    files = taken.files
    for ordinal in range(files.first_ordinal, files.end_ordinal, max(1, files.images // _SAMPLE)):
        record, n = taken.tables.vectors.find(ordinal), ordinal - files.first_ordinal
        if record is None or record.image_id != taken.loaded.ids.id_of(n):
            raise BadArtefact(f"the tables of the load have another image for ordinal {ordinal} than {IMAGES}")
        if not holds(corpus.vectors.rows, ordinal, stored_vectors([(record.lsh, record.pair)])):
            raise BadArtefact(
                f"the vector files have another row for image {record.image_id!r} than the load: cancel it and send it "
                "again"
            )


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    """The values of a column, made in parts, because the stream waits while one is made."""
    for at in range(0, len(column), _CHUNK):
        yield from column.slice(at, _CHUNK).to_pylist()


def _packed(column: pa.ChunkedArray) -> PackedIds:
    """The ids of a column, read from the disk."""
    texts = column.combine_chunks()
    begins = np.frombuffer(texts.buffers()[1], np.int64, len(texts) + 1, 8 * texts.offset)
    text = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[begins[0] : begins[-1]]
    return packed_text(text.copy(), np.diff(begins).astype(np.uint64))


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
            # A few at a time: the stream waits while RocksDB opens them, because the call holds the interpreter's lock.
            for at in range(0, len(links), _OPENED):
                db.ingest_external_file([str(link) for link in links[at : at + _OPENED]], options)
        except Exception as error:  # rocksdict raises bare Exception with RocksDB's text
            db.close()
            raise BadArtefact(f"the tables in {folder / TABLES} cannot be opened: {error}") from error
    return StoreView(db)


class WithheldImages:
    """The images that were withheld, in their order, with the vectors that the load has of them.

    Raises:
        BadArtefact: the pair vectors of the load are missing.
        InvariantBroken: the note is missing.
    """

    def __init__(self, folder: Path, files: BulkFiles, corpus: Corpus, models: Mapping[Kind, ModelSpec]) -> None:
        noted = read_sealed(folder / _WITHHELD)
        if noted is None:
            raise InvariantBroken(f"{folder / _WITHHELD} is missing: send the command again, which skips what is known")
        self._ordinals = np.array(noted["ordinals"], np.int64)
        self._rows = self._ordinals - files.first_ordinal
        self._images, self._corpus, self._models = read_images(folder), corpus, models
        self._pairs = read_pairs(folder, files.images, models[Kind.PAIR].dim)

    def __len__(self) -> int:
        return len(self._ordinals)

    def heads(self) -> Iterator[tuple[str, str]]:
        """The id and the given head of each."""
        for at in range(0, len(self), _CHUNK):
            part = self._images.select(["image_id", "head"]).take(self._rows[at : at + _CHUNK])
            yield from zip(part.column("image_id").to_pylist(), self._ids(part.column("head")), strict=True)

    def part(self, start: int, end: int) -> list[GivenImage]:
        """Some of them."""
        part = self._images.take(self._rows[start:end])
        lsh = self._corpus.vectors.rows.lsh[self._ordinals[start:end]].astype(np.float32)
        pair = self._pairs[self._rows[start:end]].astype(np.float32)
        return [
            GivenImage(_joined(row, {Kind.LSH: lsh[n], Kind.PAIR: pair[n]}, self._models), head)
            for n, (row, head) in enumerate(zip(part.to_pylist(), self._ids(part.column("head")), strict=True))
        ]

    def _ids(self, rows: pa.ChunkedArray) -> list[str]:
        ids: list[str] = self._images.column("image_id").take(rows).to_pylist()
        return ids


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
