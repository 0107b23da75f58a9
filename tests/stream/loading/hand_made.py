"""Files of a load made by hand, a record at a time, as the process that builds them makes them by the million."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rocksdict import SstFileWriter

from neardup_platform.bootstrap.bulk_files import (
    IMAGES,
    IMAGES_SCHEMA,
    TABLES,
    BulkFiles,
    read_manifest,
    write_manifest,
)
from neardup_platform.bootstrap.data_set import DataSet
from neardup_platform.bootstrap.given import given_decision
from neardup_platform.bootstrap.load_order import LoadOrder, Reservation, Scanned
from neardup_platform.bootstrap.vector_targets import PAIRS
from neardup_platform.clock import SystemClock
from neardup_platform.records import JoinedImage
from neardup_platform.scoring.compact import pack
from neardup_platform.scoring.json_vector_manifest import read_manifest as read_vectors
from neardup_platform.settings import Settings
from neardup_platform.store import layout
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.view import open_checkpoint, rocksdb_options
from neardup_platform.stream.commit import commit
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Done, Stage
from neardup_platform.stream.loading.given_heads import GivenImage
from neardup_platform.stream.loading.load import Load
from neardup_platform.stream.steps import CommandStep
from neardup_platform.terms.mmap_segment import memory_segment, segment_name, write_segment
from neardup_platform.terms.window import Rows
from neardup_platform.testing import MODELS, InMemoryWorker
from neardup_platform.testing.pipeline import MAX_REPRESENTATIVES, small_index_space, small_term_space
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message, encode_decision
from neardup_platform.wire.command_arguments import LoadArguments
from neardup_platform.wire.topics import CONTROL

_SCAN = "scan.json"


class HandMade:
    """See `Build`.

    Args:
        home: of the worker.
        given: the data set, in the order of its decisions.
    """

    def __init__(self, home: Path, given: Sequence[GivenImage]) -> None:
        self._home, self._given = home, given
        self._order: LoadOrder | None = None

    def scan(self, order: LoadOrder) -> Scanned:
        self._order = order
        path = order.folder / _SCAN
        if not path.exists():
            with closing(open_checkpoint(order.checkpoint)) as store:
                touched = {
                    given.head
                    for given in self._given
                    for image_id in (given.image.image_id, given.head)
                    if store.images.find(image_id) is not None or store.images.forgotten(image_id) is not None
                }
                path.write_text(json.dumps({"rest": sorted(touched), "ordinals": store.state().ordinals}))
        bulk, rest, ordinals = self._divided()
        return Scanned(len(self._given), len(bulk), len(rest), 0, {}, (), ordinals)

    def build(self, reservation: Reservation) -> BulkFiles:
        folder = self._folder
        if (done := read_manifest(folder)) is not None and not (folder / TABLES / "gone").exists():
            return done
        bulk, rest, ordinals = self._divided()
        files = _build(self._home, folder, bulk, reservation, ordinals)
        path = folder / "rest-0.parquet"
        pq.write_table(_parquet(rest), path)
        files.rest[path.name] = path.stat().st_size
        write_manifest(folder, files)
        return files

    def close(self) -> None:
        """Nothing is open."""

    def interrupt(self) -> None:
        """Nothing takes long."""

    @property
    def _folder(self) -> Path:
        assert self._order is not None
        return self._order.folder

    def _divided(self) -> tuple[list[GivenImage], list[GivenImage], int]:
        scanned = json.loads((self._folder / _SCAN).read_text())
        rest = set(scanned["rest"])
        bulk = [given for given in self._given if given.head not in rest]
        return bulk, [given for given in self._given if given.head in rest], scanned["ordinals"]


def _build(home: Path, folder: Path, bulk: Sequence[GivenImage], reservation: Reservation, ordinals: int) -> BulkFiles:
    rows: dict[Table, dict[bytes, bytes]] = defaultdict(dict)
    members: dict[str, list[int]] = defaultdict(list)
    for n, given in enumerate(bulk):
        members[given.head].append(n)
    retired = {n for cluster in members.values() for n in cluster[MAX_REPRESENTATIVES:]}
    digest = 0
    for n, given in enumerate(bulk):
        _put_image(rows, given, n, n in retired, reservation)
        digest += layout.assignment_digest(given.image.image_id, given.head)
    for head, cluster in members.items():
        last = reservation.first_sequence + cluster[-1]
        record = store_pb.ClusterRecord(
            size=len(cluster),
            created_ms=reservation.decided_ms,
            updated_ms=reservation.decided_ms,
            updated_sequence=last,
            representatives=[bulk[n].image.image_id for n in cluster[:MAX_REPRESENTATIVES]],
        )
        rows[Table.CLUSTERS][head.encode()] = record.SerializeToString()
        if len(cluster) > 1:
            rows[Table.RECENT][layout.recent_key(head, last)] = layout.number_key(last)
    (folder / TABLES).mkdir(exist_ok=True)
    tables = {f"{table.name.lower()}.sst": _write_table(folder / TABLES, table, rows[table]) for table in rows}
    numbers = {given.image.image_id: n for n, given in enumerate(bulk)}
    _write_images(folder, bulk, numbers, retired)
    segments = {}
    if bulk:
        _write_vectors(home, folder, bulk, reservation.first_ordinal)
        segments = _write_segment(folder, bulk, reservation.first_ordinal, retired)
    return BulkFiles(
        "hand-made@0",
        reservation.first_ordinal,
        reservation.first_sequence,
        len(bulk),
        len(members),
        digest,
        ordinals,
        tables,
        segments,
        {},
        {"pdq_missing": len(bulk)},
    )


def _put_image(
    rows: dict[Table, dict[bytes, bytes]], given: GivenImage, n: int, retired: bool, reservation: Reservation
) -> None:
    image, head = given
    sequence, ordinal = reservation.first_sequence + n, reservation.first_ordinal + n
    decision = given_decision(
        image,
        head,
        sequence,
        ordinal,
        terms_version=small_term_space().version,
        command_id="c1",
        decided_ms=reservation.decided_ms,
    )
    record = store_pb.ImageRecord(
        ordinal=ordinal,
        head=head,
        sequence=sequence,
        event_time_ms=image.event_time_ms,
        decided_ms=reservation.decided_ms,
        source_uri=image.source_uri,
    )
    lsh, pair = (each.vector.astype("<f2").tobytes() for each in (image.lsh, image.pair))
    vectors = store_pb.VectorRecord(
        image_id=image.image_id,
        lsh_version=image.lsh.model_version,
        pair_version=image.pair.model_version,
        lsh=lsh,
        pair=pair,
        retired=retired,
    )
    rows[Table.IMAGES][image.image_id.encode()] = record.SerializeToString()
    rows[Table.MEMBERS][layout.sequence_key(head, sequence)] = image.image_id.encode()
    rows[Table.HISTORY][layout.sequence_key(image.image_id, sequence)] = encode_decision(decision)
    rows[Table.VECTORS][layout.number_key(ordinal)] = vectors.SerializeToString()


def _write_table(folder: Path, table: Table, rows: dict[bytes, bytes]) -> int:
    path = folder / f"{table.name.lower()}.sst"
    path.unlink(missing_ok=True)
    writer = SstFileWriter(rocksdb_options())
    writer.open(str(path))
    for key in sorted(rows):
        writer[table.value + key] = rows[key]
    writer.finish()
    return path.stat().st_size


def _write_images(folder: Path, bulk: Sequence[GivenImage], numbers: dict[str, int], retired: set[int]) -> None:
    rows = [
        {
            "image_id": image.image_id,
            "head": numbers[head],
            "retired": n in retired,
            "event_time_ms": image.event_time_ms,
            "source_uri": image.source_uri,
            "pdq": image.pdq and image.pdq.bits,
            "pdq_quality": image.pdq and image.pdq.quality,
            "row": n,
            "pair_row": n,
        }
        for n, (image, head) in enumerate(bulk)
    ]
    with pa.OSFile(str(folder / IMAGES), "wb") as file, pa.ipc.new_file(file, IMAGES_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, IMAGES_SCHEMA))


def _write_vectors(home: Path, folder: Path, bulk: Sequence[GivenImage], first: int) -> None:
    manifest = read_vectors(home / "vectors")
    assert manifest is not None
    lsh = np.stack([image.lsh.vector for image, _ in bulk]).astype("<f2")
    pair = np.stack([image.pair.vector for image, _ in bulk]).astype("<f2")
    (folder / PAIRS).write_bytes(bytes(pair.nbytes))
    rows = (lsh, pack(lsh, pair, manifest.layout))
    for path, row_bytes, part in zip(manifest.paths(home / "vectors"), manifest.row_bytes, rows, strict=True):
        with path.open("r+b") as file:
            file.seek(first * row_bytes)
            file.write(part.tobytes())


def _write_segment(folder: Path, bulk: Sequence[GivenImage], first: int, retired: set[int]) -> dict[str, int]:
    space, end = small_index_space(), first + len(bulk)
    kept = np.array([n for n in range(len(bulk)) if n not in retired], np.int64)
    lsh = np.stack([bulk[n].image.lsh.vector for n in kept]).astype(np.float16).astype(np.float32)
    hashed = space.hash(lsh)
    segment = memory_segment(first, end, Rows.of(first + kept, hashed, space), space.cells)
    name = segment_name(first, end, 0)
    write_segment(folder, name, [segment], np.zeros(len(bulk), np.uint8), space.index_version)
    return {name: (folder / name).stat().st_size}


def _parquet(given: Sequence[GivenImage]) -> pa.Table:
    images: list[JoinedImage] = [image for image, _ in given]
    return pa.table(
        {
            "image_id": pa.array([image.image_id for image in images], pa.string()),
            "lsh": pa.array([image.lsh.vector.astype("<f4").tobytes() for image in images], pa.binary()),
            "pair": pa.array([image.pair.vector.astype("<f4").tobytes() for image in images], pa.binary()),
            "lsh_version": pa.array([image.lsh.model_version for image in images], pa.string()),
            "pair_version": pa.array([image.pair.model_version for image in images], pa.string()),
            "event_time_ms": pa.array([image.event_time_ms for image in images], pa.int64()),
            "source_uri": pa.array([image.source_uri for image in images], pa.string()),
            "head": pa.array([head for _, head in given], pa.string()),
        }
    )


def take_in(
    worker: InMemoryWorker, settings: Settings, given: Sequence[GivenImage], between: Callable[[], None] = lambda: None
) -> None:
    """Load images into a worker; `between` is what happens after each stage."""
    data_set = DataSet("corpus", ())
    handler = Load(
        settings,
        worker.store,
        worker.pipeline,
        MODELS,
        lambda *_: data_set,
        lambda _: HandMade(settings.home, given),
        SystemClock(),
    )
    message, command = Message(CONTROL, 0, 0, b"", b""), pb.Command(command_id="c1", name="load")
    outcome = handler(command, LoadArguments(data_set="corpus", version=data_set.version))()
    while isinstance(outcome, Stage):
        commit(worker.store, worker.store.state(), CommandStep(Handled(message, outcome=outcome)), 1)
        outcome.apply()
        between()
        outcome = outcome.prepare()()
    assert isinstance(outcome, Done)
    worker.commit_outcome("c1", outcome)
