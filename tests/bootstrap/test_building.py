"""A load built as files equals the same decisions committed one after another, table by table and byte by byte."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rocksdict import IngestExternalFileOptions

from neardup_platform.bootstrap import room, written_files
from neardup_platform.bootstrap.building import Building
from neardup_platform.bootstrap.bulk_files import IMAGES, TABLES, BulkFiles, read_manifest
from neardup_platform.bootstrap.data_set import DataFile, DataSet
from neardup_platform.bootstrap.given import given_decision
from neardup_platform.bootstrap.load_order import LoadOrder, Reservation, Scanned
from neardup_platform.bootstrap.parquet_vector_pass import compressed_share
from neardup_platform.bootstrap.vector_targets import read_pairs
from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.ingest.parquet_embeddings import EmbeddingFile
from neardup_platform.matching import Scored
from neardup_platform.pipeline import Decided
from neardup_platform.progress import Progress, no_progress
from neardup_platform.records import Embedding, JoinedImage, Kind, PdqHash
from neardup_platform.scoring.mmap_vectors import WrittenVectors
from neardup_platform.scoring.vectors import ImageVectors, holds
from neardup_platform.settings import Settings
from neardup_platform.store.layout import Table
from neardup_platform.store.store_pb2 import StoreState
from neardup_platform.store.stored_pairs import StoredPairs
from neardup_platform.store.writer import Store
from neardup_platform.stream.commit import commit
from neardup_platform.stream.steps import StreamStep
from neardup_platform.terms.hyperplanes import save_term_space
from neardup_platform.terms.mmap_segment import open_segment
from neardup_platform.testing import MODELS, image, small_index_space, small_term_space
from tests.bootstrap.data_files import SCHEMA, Row, source, write

NOW_MS = 1_700_000_000_000
TABLES_OF_IMAGES = (Table.IMAGES, Table.HISTORY, Table.MEMBERS, Table.CLUSTERS, Table.RECENT, Table.VECTORS)
MOST = 4
BEFORE = [image(name, np.eye(16)[at]) for at, name in enumerate(["known", "other", "cluster-1/0-known"])]


@dataclass(frozen=True)
class Given:
    """An image of the data set, its head, and its rows."""

    image: JoinedImage
    head: str
    rows: list[Row]


def made(number: int, head: str, image_id: str, rng: np.random.Generator) -> Given:
    """An image with random vectors; some without uri or hash, some in two rows."""
    lsh, pair = rng.standard_normal(16).astype(np.float16), rng.standard_normal(4).astype(np.float16)
    at, uri = NOW_MS - int(rng.integers(0, 1_000)), f"s3://pictures/{number}" if number % 3 else ""
    pdq = PdqHash(rng.bytes(32), int(rng.integers(0, 100))) if number % 4 else None
    joined = JoinedImage(
        *(
            Embedding(image_id, kind, MODELS[kind].version, vector.astype(np.float32), at, uri, pdq=pdq)
            for kind, vector in ((Kind.LSH, lsh), (Kind.PAIR, pair))
        )
    )
    row = {
        "image_id": image_id,
        "head": head,
        "lsh": lsh.astype(np.float32).tolist(),
        "pair": pair.tolist(),
        "lsh_version": MODELS[Kind.LSH].version,
        "pair_version": MODELS[Kind.PAIR].version,
        "event_time_ms": at,
        "source_uri": uri or None,
        "pdq": pdq.bits.hex() if pdq else None,
        "pdq_quality": pdq.quality if pdq else None,
    }
    if number % 7:
        return Given(joined, head, [row])
    halves = [{**row, "pair": None, "source_uri": None}, {**row, "lsh": None, "head": None, "pdq": None}]
    halves[1]["pdq_quality"] = None
    return Given(joined, head, halves)


def corpus() -> list[Given]:
    """Clusters of 1, 2… images, one of 40, with ids of all lengths."""
    rng = np.random.default_rng(3)
    given = []
    for cluster, size in enumerate([1, 2, 3, 7, 40, 1, 5, 1, 12]):
        names = [f"{'é' * (cluster % 3)}cluster-{cluster}/{'x' * (member * 9 % 200)}{member}" for member in range(size)]
        given += [made(len(given) + at, names[0], name, rng) for at, name in enumerate(names)]
    return given


def in_order(folder: Path) -> list[Given]:
    """The corpus in the order that the scan has found, which other tests check."""
    ids = pa.ipc.open_file(folder / "load" / IMAGES).read_all().column("image_id").to_pylist()
    by_id = {each.image.image_id: each for each in CORPUS}
    return [by_id[image_id] for image_id in ids]


CORPUS = corpus()


class Home:
    """A store with a few images, its vector files, and a data set beside it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        space = folder / "space.npz"
        save_term_space(small_term_space(), space)
        base = Settings(home=folder)
        terms = base.terms.model_copy(update={"space": space, "max_representatives": MOST})
        self.settings = base.model_copy(update={"terms": terms})
        self.folder = folder
        self.store = Store(self.settings.store_path)
        self.state = self.store.state()
        self.commit([Given(each, each.image_id, []) for each in BEFORE])
        path, pairs = self.settings.vectors_path, StoredPairs(self.store)
        self.vectors = WrittenVectors(path, self.state.store_id, MODELS, len(BEFORE), pairs)
        self.vectors.skip(len(BEFORE))

    def commit(self, given: Sequence[Given], decided_ms: int = NOW_MS, command_id: str = "before") -> None:
        """Commit images as the stream does, a few at once."""
        in_cluster: dict[str, int] = {}
        for at in range(0, len(given), 10):
            part = given[at : at + 10]
            first, sequence = self.state.ordinals, self.state.sequence + 1
            stacked = (np.stack([each.image.embedding(kind).vector for each in part]) for kind in Kind)
            retired = []
            for each in part:
                in_cluster[each.head] = in_cluster.get(each.head, 0) + 1
                retired.append(in_cluster[each.head] > MOST)
            decided = Decided(
                [each.image for each in part],
                np.arange(first, first + len(part)),
                ImageVectors(*(kind.astype(np.float16) for kind in stacked)),
                Scored(*(np.empty((len(part), 0)) for _ in fields(Scored))),
                np.array(retired),
                [
                    given_decision(
                        each.image,
                        each.head,
                        sequence + row,
                        first + row,
                        terms_version=small_term_space().version,
                        command_id=command_id,
                        decided_ms=decided_ms,
                    )
                    for row, each in enumerate(part)
                ],
            )
            commit(self.store, self.state, StreamStep(decided=[decided]), decided_ms, publish=False)

    def building(self, files: Sequence[Path], progress: Progress = no_progress, *, skip_bad: bool = False) -> Building:
        """What builds a load of these files."""
        checkpoint = self.folder / "checkpoint"
        if not checkpoint.exists():
            self.store.checkpoint(checkpoint)
        data_set = DataSet("corpus", tuple(DataFile(path.name, path.stat().st_size, "e") for path in files))
        order = LoadOrder(data_set, "c1", self.folder / "load", checkpoint, MODELS, skip_bad)
        sources = [source(path) for path in files]
        return Building(self.settings, order, NOW_MS, progress, sources)

    def reservation(self) -> Reservation:
        return Reservation(self.state.ordinals, self.state.sequence + 1, NOW_MS + 5)

    def build(self, files: Sequence[Path], progress: Progress = no_progress) -> tuple[Scanned, BulkFiles]:
        """Scan, reserve, build."""
        building = self.building(files, progress)
        scanned = building.scan()
        return scanned, building.build(self.reservation())

    def tables(self) -> dict[Table, list[tuple[bytes, bytes]]]:
        return {table: list(self.store.scan(table)) for table in TABLES_OF_IMAGES}

    def ingest(self, files: BulkFiles) -> None:
        paths = [str(self.folder / "load" / TABLES / name) for name in files.tables]
        self.store._tables.db.ingest_external_file(paths, IngestExternalFileOptions())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = Home(tmp_path / "home")
    yield opened
    opened.store.close()
    opened.vectors.close()


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of few rows, so that there are several of each."""
    for name, rows in {"TABLE": 25, "VECTOR": 16, "SEGMENT": 32, "REST": 8, "HASHED": 5, "SYNC": 10}.items():
        monkeypatch.setattr(written_files, f"_{name}_ROWS", rows)


def files_of(folder: Path, given: Sequence[Given], *, shuffled: bool = True) -> list[Path]:
    """The rows of images in three files."""
    rows = [row for each in given for row in each.rows]
    if shuffled:
        rows = [rows[at] for at in np.random.default_rng(1).permutation(len(rows))]
    thirds = [rows[at::3] for at in range(3)]
    return [write(folder / f"{number}.parquet", part, SCHEMA) for number, part in enumerate(thirds)]


@pytest.mark.usefixtures("small_parts")
def test_a_store_of_files_equals_a_store_of_commits(tmp_path: Path, home: Home) -> None:
    scanned, files = home.build(files_of(tmp_path, CORPUS))
    assert (scanned.bulk, scanned.rest, scanned.bad) == (len(CORPUS), 0, {})
    assert read_manifest(home.folder / "load") == files
    home.ingest(files)

    ordinary = Home(tmp_path / "ordinary")
    before = StoreState.FromString(ordinary.state.SerializeToString())
    ordinary.commit(in_order(home.folder), NOW_MS + 5, "c1")
    after = ordinary.state
    for table, rows in ordinary.tables().items():
        assert home.tables()[table] == rows, table
    assert (files.images, files.clusters) == (after.images - before.images, after.clusters - before.clusters)
    gained = int.from_bytes(after.digest, "little") - int.from_bytes(before.digest, "little")
    assert files.digest == gained % (1 << 128)
    counted = {name: count - before.counters[name] for name, count in after.counters.items()}
    assert files.counters == {name: counted.get(name, 0) for name in files.counters}
    ordinary.store.close()


@pytest.mark.usefixtures("small_parts")
def test_vector_rows_and_the_segment_are_those_of_the_images(tmp_path: Path, home: Home) -> None:
    _, files = home.build(files_of(tmp_path, CORPUS))
    given = in_order(home.folder)
    home.vectors.skip(files.images)
    expected = ImageVectors(
        *(np.stack([each.image.embedding(kind).vector for each in given]).astype(np.float16) for kind in Kind)
    )
    for at in range(files.images):
        assert holds(home.vectors.rows, len(BEFORE) + at, expected.at(np.array([at])))
    home.ingest(files)
    for at, record in enumerate(home.store.vectors.all(len(BEFORE))):
        assert record.pair == expected.pair[at].tobytes()

    [name] = files.segments
    segment = open_segment(home.folder / "load" / name, small_index_space().index_version)
    assert (segment.first, segment.end) == (files.first_ordinal, files.end_ordinal)
    seen: dict[str, int] = {}
    kept = []
    for at, each in enumerate(given):
        seen[each.head] = seen.get(each.head, 0) + 1
        kept += [at] if seen[each.head] <= MOST else []
    assert sorted(segment.part.ordinals.tolist()) == [files.first_ordinal + at for at in kept]
    hashed = small_term_space().hash(expected.lsh.astype(np.float32))
    rows = segment.part.ordinals.astype(np.int64) - files.first_ordinal
    assert (hashed.heads[rows] == segment.part.head.T).all()
    assert segment.part.signatures.shape == (len(rows), 0)


@pytest.mark.usefixtures("small_parts")
def test_clusters_that_touch_the_store_are_the_rest(tmp_path: Path, home: Home) -> None:
    rng = np.random.default_rng(9)
    stranger = made(1, "other", "joins a stored image", rng)
    repeated = made(2, CORPUS[0].head, "known", rng)
    touched = [each for each in CORPUS if each.head == CORPUS[0].head]
    scanned, files = home.build(files_of(tmp_path, [*CORPUS, stranger, repeated]))
    assert (scanned.bulk, scanned.rest) == (len(CORPUS) - len(touched), len(touched) + 2)
    paths = [home.folder / "load" / name for name in files.rest]
    images = [row for path in paths for part in EmbeddingFile(path, MODELS, NOW_MS).parts(99) for row in part.images]
    heads = [head for path in paths for head in pq.read_table(path).column("head").to_pylist()]
    expected = {each.image.image_id: (each.image, each.head) for each in (*touched, stranger, repeated)}
    assert {row.image_id: head for row, head in zip(images, heads, strict=True)} == {
        image_id: head for image_id, (_, head) in expected.items()
    }
    assert [row.event_time_ms for row in images] != []
    for row in images:
        wanted = expected[row.image_id][0]
        assert (row.event_time_ms, row.source_uri, row.pdq) == (wanted.event_time_ms, wanted.source_uri, wanted.pdq)
        assert (row.lsh.vector == wanted.lsh.vector).all()
        assert (row.pair.vector == wanted.pair.vector).all()


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a load with its inode."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".sst", ".segment", ".parquet", ".arrow")
    }


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("table", ["clusters", "vectors"])
def test_a_repeated_order_keeps_what_is_complete_and_writes_what_is_not(tmp_path: Path, home: Home, table: str) -> None:
    files = files_of(tmp_path, CORPUS)
    first = home.build(files)
    before = content(home.folder / "load")
    home.commit([replace(CORPUS[0], head=CORPUS[0].image.image_id)])  # decided meanwhile: the division stays
    home.state.ordinals, home.state.sequence = len(BEFORE), len(BEFORE)
    assert home.build(files) == first
    assert content(home.folder / "load") == before

    lost = home.folder / "load" / TABLES / next(name for name in first[1].tables if name.startswith(table))
    lost.unlink()
    (home.folder / "load" / TABLES / "half.tmp").write_bytes(b"half")
    assert home.build(files) == first
    after = content(home.folder / "load")
    changed = [name for name in before if after[name] != before[name]]
    assert changed in ([], [f"{TABLES}/{lost.name}"])
    assert after.keys() == before.keys()
    assert not (lost.parent / "half.tmp").exists()
    home.ingest(first[1])
    pairs = {each.image.image_id: each.image.pair.vector.astype(np.float16).tobytes() for each in CORPUS}
    assert {record.image_id: record.pair for record in home.store.vectors.all(len(BEFORE))} == pairs


@pytest.mark.usefixtures("small_parts")
def test_pair_vectors_are_released_once_they_are_in_the_table(tmp_path: Path, home: Home) -> None:
    _, files = home.build(files_of(tmp_path, CORPUS))
    assert not read_pairs(home.folder / "load", files.images, MODELS[Kind.PAIR].dim).any()


def vector_rows(home: Home) -> list[bytes]:
    """Returns the content of the vector files of worker and load."""
    folder = home.settings.vectors_path
    paths = [*folder.glob("*.f16"), *folder.glob("*.u8"), *(home.folder / "load").glob("bulk-*")]
    assert len(paths) == 3
    return [path.read_bytes() for path in paths]


def test_pair_vectors_that_a_load_lacks_are_named_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match=rf"{tmp_path}/bulk-pair.f16 cannot be read .* send the load again"):
        read_pairs(tmp_path, 5, 4)
    (tmp_path / "bulk-pair.f16").write_bytes(bytes(4 * 8))
    assert read_pairs(tmp_path, 4, 4).shape == (4, 4)
    with pytest.raises(BadArtefact, match="has 4 rows, 5 expected: send the load again"):
        read_pairs(tmp_path, 5, 4)


class Killed(BaseException):
    """Ends a process at some point, as far as its files are concerned."""


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("calls", [3, 8, 13, 21, 34, 55])
def test_a_building_that_ends_anywhere_is_continued_to_the_same_files(tmp_path: Path, home: Home, calls: int) -> None:
    files, left = files_of(tmp_path, CORPUS), [calls]

    def end_at_last(*_: object) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise Killed

    with pytest.raises(Killed):
        home.build(files, end_at_last)
    assert read_manifest(home.folder / "load") is None
    _, continued = home.build(files)
    rows = vector_rows(home)

    whole = Home(tmp_path / "whole")
    assert whole.build(files)[1] == continued
    assert rows == vector_rows(whole)
    home.ingest(continued)
    whole.ingest(continued)
    assert home.tables() == whole.tables()
    whole.store.close()


def test_other_numbers_make_other_files(tmp_path: Path, home: Home) -> None:
    files = files_of(tmp_path, CORPUS[:30])
    home.build(files)
    before = content(home.folder / "load")
    building = home.building(files)
    building.scan()
    building.build(replace(home.reservation(), decided_ms=NOW_MS + 6))
    after = content(home.folder / "load")
    assert after["images.arrow"] == before["images.arrow"]
    assert all(after[name][0] != before[name][0] for name in after if name.endswith(".sst"))


def test_a_bad_vector_refuses_the_load_and_names_its_row(tmp_path: Path, home: Home) -> None:
    bad = replace(CORPUS[5], rows=[{**CORPUS[5].rows[0], "pair": [1.0, float("nan"), 0.0, 0.0]}])
    assert len(CORPUS[5].rows) == 1
    files = files_of(tmp_path, [*CORPUS[:5], bad], shuffled=False)
    with pytest.raises(BadArtefact, match=r"\.parquet: row \d+: not-finite: its pair vector"):
        home.build(files)
    assert read_manifest(home.folder / "load") is None


def test_bad_rows_are_counted_and_skipped_where_that_is_asked(tmp_path: Path, home: Home) -> None:
    cluster = [each for each in CORPUS if each.head == CORPUS[3].head]
    bad = {**cluster[1].rows[0], "lsh": [float("inf")] * 16}
    files = files_of(tmp_path, [*cluster[:1], replace(cluster[1], rows=[bad]), *cluster[2:], replace(cluster[0])])
    refused = home.building(files).scan()
    building = home.building(files, skip_bad=True)
    scanned = building.scan()
    assert refused.bad == scanned.bad == {"not-finite": 1}
    assert (scanned.bulk, scanned.rows) == (len(cluster) - 1, scanned.bulk + 1 + scanned.other)
    assert "not-finite" in scanned.examples[0]
    assert building.build(home.reservation()).images == len(cluster) - 1


def test_an_empty_bulk_has_no_tables(tmp_path: Path, home: Home) -> None:
    rng = np.random.default_rng(4)
    scanned, files = home.build(files_of(tmp_path, [made(at, "known", f"new {at}", rng) for at in range(1, 4)]))
    assert (scanned.bulk, scanned.rest, files.images, files.tables, files.segments) == (0, 3, 0, {}, {})
    assert len(files.rest) == 1


def test_a_load_that_the_disk_has_no_room_for_is_refused_after_the_scan(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, free = files_of(tmp_path, CORPUS), 2_000_000
    monkeypatch.setattr(room, "shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=free)))
    with pytest.raises(
        SetupError, match=rf"loading {len(CORPUS)} images takes 269 MB .*, 2 MB are free under .*: free"
    ):
        home.building(files).scan()
    assert not list((home.folder / "load").glob(f"{TABLES}/*"))

    free = 1 << 30
    assert home.build(files)[1].images == len(CORPUS)


def test_the_room_of_a_load_grows_with_what_it_writes() -> None:
    lsh, pair = (2 * MODELS[kind].dim for kind in (Kind.LSH, Kind.PAIR))
    one = room.needed_bytes(MODELS, 1, 0, 0)
    # The rows of the worker, the pair vectors until they are in the store, and both there.
    assert one >= 2 * lsh + 2 * pair
    assert room.needed_bytes(MODELS, 10, 0, 100) == 10 * one + room.needed_bytes(MODELS, 0, 0, 100)
    most = 10 * room.PASSING_IMAGES
    kept = room.needed_bytes(MODELS, most, 0, 0, releases=False) - room.needed_bytes(MODELS, most, 0, 0)
    assert kept == 9 * room.PASSING_IMAGES * pair
    assert room.needed_bytes(MODELS, 1, 0, 0, stored_share=0.5) == one - (lsh + pair) // 2
    assert room.needed_bytes(MODELS, 0, 10, 0) == 10 * 2 * (lsh + pair)


def test_vectors_that_compress_in_the_files_need_less_room_in_the_store(tmp_path: Path) -> None:
    zeros = [{**each.rows[0], "lsh": [0.0] * 16, "pair": [0.0] * 4} for each in CORPUS]
    table = pa.Table.from_pylist(zeros * 50, SCHEMA)
    shares = []
    for codec in ("snappy", "none"):
        path = tmp_path / f"{codec}.parquet"
        pq.write_table(table, path, compression=codec, use_dictionary=False)
        shares.append(compressed_share([source(path)]))
    assert 0 < shares[0] < 0.5
    assert shares[1] == 1
