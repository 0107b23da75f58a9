"""Images without head become files in order of event time, whatever files and rows they come from."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neardup_platform.bootstrap.arrow_segments import SegmentFiles
from neardup_platform.bootstrap.parquet_rows import read_rows
from neardup_platform.bootstrap.parquet_vectors import found_in_vectors, read_vectors
from neardup_platform.bootstrap.row_checks import REASON_NAMES
from neardup_platform.bootstrap.row_fates import fates_of
from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_embeddings import EmbeddingFile
from neardup_platform.records import JoinedImage, PdqHash
from tests.bootstrap.data_files import MODELS, NOW_MS, SCHEMA, Row, row, source, write


def segments(
    folder: Path, *files: Sequence[Row], images: int = 100, schema: pa.Schema = SCHEMA
) -> list[list[JoinedImage]]:
    """The images of each segment, as the worker reads them."""
    sources = [source(write(folder / f"{number}.parquet", rows, schema)) for number, rows in enumerate(files)]
    rows = read_rows(sources, MODELS, NOW_MS)
    (folder / "spill").mkdir()
    read = []
    with SegmentFiles(folder / "spill", rows, fates_of(rows), MODELS, images) as written:
        for batch in read_vectors(sources, rows, MODELS, np.ones(len(rows), np.bool_)):
            written.add(batch)
        for path, count in written.files():
            parts = list(EmbeddingFile(path, MODELS, NOW_MS).parts(1_000))
            assert [len(part.bad) for part in parts] == [0] * len(parts)
            read.append([image for part in parts for image in part.images])
            assert count == len(read[-1])
    assert list((folder / "spill").glob("*.parquet")) == []
    return read


def test_images_are_sorted_over_all_files_into_segments_of_bounded_size(tmp_path: Path) -> None:
    rows = [row(f"i{number}", at=NOW_MS - number, lsh=[1.0, number, 0.0]) for number in range(11)]
    found = segments(tmp_path, rows[:6], [row("headed", "headed"), *rows[6:]], images=4)
    assert [[image.image_id for image in each] for each in found] == [
        ["i10", "i9", "i8", "i7"],
        ["i6", "i5", "i4", "i3"],
        ["i2", "i1", "i0"],
    ]
    assert found[0][1].lsh.vector.tolist() == [1, 9, 0]


def test_a_batch_of_images_with_heads_alone_adds_nothing(tmp_path: Path) -> None:
    headed = [row(f"h{number}", "h0") for number in range(4)]
    ((found,),) = segments(tmp_path, [*headed, row("to decide")])
    assert found.image_id == "to decide"


VIEWS = {"source_uri": pa.string_view(), "pdq": pa.binary_view(), "lsh": pa.list_view(pa.float32())}


def test_views_are_sorted_like_other_columns(tmp_path: Path) -> None:
    schema = pa.schema([field.with_type(VIEWS.get(field.name, field.type)) for field in SCHEMA])
    rows = [row("a", source_uri="s3://a", pdq=b"ab" * 32, pdq_quality=9), row("b", at=NOW_MS - 1)]
    ((one, other),) = segments(tmp_path, rows, schema=schema)
    assert (one.image_id, one.source_uri, one.pdq) == ("b", "", None)
    assert (other.image_id, other.source_uri, other.lsh.vector.tolist()) == ("a", "s3://a", [1, 0, 0.5])
    assert other.pdq == PdqHash(bytes.fromhex("ab" * 32), 9)


def test_the_two_rows_of_an_image_meet_with_what_either_says(tmp_path: Path) -> None:
    pdq = "ab" * 32
    first = [row("a", kinds="p", at=NOW_MS, pair=[2.0, 3.0], source_uri="s3://a", pdq=pdq, pdq_quality=80)]
    second = [row("b", at=NOW_MS + 1), row("a", kinds="l", at=NOW_MS - 5, lsh=[4.0, 5.0, 6.0])]
    ((one, other),) = segments(tmp_path, first, second)
    assert (one.image_id, one.event_time_ms, one.source_uri) == ("a", NOW_MS, "s3://a")
    assert (one.lsh.vector.tolist(), one.pair.vector.tolist()) == ([4, 5, 6], [2, 3])
    assert one.pdq is not None
    assert (one.pdq.bits.hex(), one.pdq.quality) == (pdq, 80)
    assert (other.image_id, other.source_uri, other.pdq) == ("b", "", None)


def test_bad_vectors_and_repeated_rows_with_other_vectors_are_found(tmp_path: Path) -> None:
    rows = [
        row("a"),
        row("same"),
        row("differs"),
        row("nan", lsh=[float("nan"), 0.0, 1.0]),
        row("short", pair=[1.0]),
        row("half", kinds="l", lsh=[0.0, 0.0, 0.0]),
        row("same"),
        row("differs", pair=[0.5, 0.75]),
    ]
    sources = [source(write(tmp_path / "x.parquet", rows))]
    read = read_rows(sources, MODELS, NOW_MS)
    fates = fates_of(read)
    found = found_in_vectors(read_vectors(sources, read, MODELS, np.ones(8, np.bool_)), read, fates)
    expected = ["", "", "", "not-finite", "bad-dimension", "zero-vector", "", "duplicate"]
    assert [REASON_NAMES[code] for code in found] == expected
    after = [REASON_NAMES[code] for code in fates_of(read, found=found).reasons]
    assert after == ["", "", "duplicate", "not-finite", "bad-dimension", "zero-vector", "", "duplicate"]


def test_only_row_groups_with_wanted_rows_are_read(tmp_path: Path) -> None:
    sources = [source(write(tmp_path / "x.parquet", [row(f"i{number}") for number in range(12)]))]
    rows, wanted, done = read_rows(sources, MODELS, NOW_MS), np.zeros(12, np.bool_), list[int]()
    wanted[5] = True
    batches = list(read_vectors(sources, rows, MODELS, wanted, done.append))
    assert [batch.rows.tolist() for batch in batches] == [[4, 5, 6, 7]]
    assert sum(done) == 12


def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [row(f"i{number}") for number in range(12)])
    sources, content = [source(path)], path.read_bytes()
    rows = read_rows(sources, MODELS, NOW_MS)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BadArtefact, match=r"x\.parquet: it is not a readable Parquet file"):
        list(read_vectors(sources, rows, MODELS, np.ones(12, np.bool_)))
