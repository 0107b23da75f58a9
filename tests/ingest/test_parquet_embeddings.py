"""Parquet files of embeddings: any content is read, or reported by row and reason, without a traceback."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_embeddings import Defaults, EmbeddingFile
from neardup_platform.ingest.parquet_writer import write_embeddings
from neardup_platform.records import Embedding, JoinedImage, Kind, ModelSpec, PdqHash

NOW_MS = 1_700_000_000_000
MODELS = {Kind.LSH: ModelSpec("l1", 3), Kind.PAIR: ModelSpec("p1", 2)}
ROWS = 5
GOOD: dict[str, pa.Array] = {
    "image_id": pa.array([f"i{n}" for n in range(ROWS)]),
    "lsh": pa.array([[1.0, n, 0.5] for n in range(ROWS)], pa.list_(pa.float32())),
    "pair": pa.array([[0.5, n] for n in range(ROWS)], pa.list_(pa.float32())),
    "lsh_version": pa.array(["l1"] * ROWS),
    "pair_version": pa.array(["p1"] * ROWS),
    "event_time_ms": pa.array([NOW_MS - n for n in range(ROWS)], pa.int64()),
    "source_uri": pa.array(["s3://x", None, "", "é", "s3://y"]),
}


def written(folder: Path, **changes: pa.Array | None) -> Path:
    columns = {name: values for name, values in {**GOOD, **changes}.items() if values is not None}
    path = folder / "vectors.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def read(path: Path, **more: Any) -> tuple[list[JoinedImage], list[str]]:
    images, bad = [], []
    for part in EmbeddingFile(path, MODELS, NOW_MS, **more).parts(2):
        images += part.images
        bad += [str(row) for row in part.bad]
    return images, bad


def with_row(values: list[Any], row: int, value: Any) -> list[Any]:
    return [value if n == row else other for n, other in enumerate(values)]


def test_a_good_file_is_read_completely_and_in_order(tmp_path: Path) -> None:
    images, bad = read(written(tmp_path))
    assert bad == []
    assert [image.image_id for image in images] == [f"i{n}" for n in range(ROWS)]
    assert images[3].lsh.vector.tolist() == [1, 3, 0.5]
    assert (images[3].pair.model_version, images[3].event_time_ms) == ("p1", NOW_MS - 3)
    assert [image.source_uri for image in images] == ["s3://x", "", "", "é", "s3://y"]


HASHES = ["ab" * 32, None, "CD" * 32, None, None]


def test_pdq_hashes_are_read_where_there_are_any(tmp_path: Path) -> None:
    qualities = pa.array([100, None, 0, None, None], pa.int32())
    images, bad = read(written(tmp_path, pdq=pa.array(HASHES), pdq_quality=qualities))
    assert bad == []
    assert [image.pdq for image in images[:3]] == [PdqHash(b"\xab" * 32, 100), None, PdqHash(b"\xcd" * 32, 0)]


IDS = GOOD["image_id"].to_pylist()
LSH = GOOD["lsh"].to_pylist()
TIMES = GOOD["event_time_ms"].to_pylist()
INVALID = pa.Array.from_buffers(pa.string(), ROWS, pa.array([b"a", b"\xff\xfe", b"c", b"d", b"e"]).buffers())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_id": pa.array(with_row(IDS, 1, None))}, "row 1: bad-id: None: a text"),
        ({"image_id": pa.array(with_row(IDS, 2, "x" * 3_000_000))}, "row 2: bad-id: 'xxxx"),
        ({"image_id": pa.array(with_row(IDS, 1, "a\nb"))}, r"row 1: bad-id: 'a\\nb' has a control character, U\+000A"),
        ({"image_id": pa.array(with_row(IDS, 1, ".."))}, "row 1: bad-id"),
        ({"image_id": INVALID}, "row 1: bad-id: .*not valid UTF-8"),
        ({"lsh": pa.array(with_row(LSH, 4, None))}, "row 4: bad-dimension: the lsh vector is null, expected 3 values"),
        ({"lsh": pa.array(with_row(LSH, 4, [1.0, 2.0]))}, "row 4: bad-dimension: lsh vector of 2 values, 3 expected"),
        ({"lsh": pa.array(with_row(LSH, 4, [1.0, None, 2.0]))}, "row 4: not-finite"),
        ({"lsh": pa.array(with_row(LSH, 4, [1.0, 1e300, 2.0]), pa.list_(pa.float64()))}, "row 4: not-finite"),
        ({"lsh": pa.array(with_row(LSH, 0, [0.0, 0.0, 0.0]))}, "row 0: zero-vector"),
        ({"lsh": pa.array([b"123"] * 5)}, "row 0: bad-dimension: the lsh vector has 3 bytes"),
        ({"lsh_version": pa.array(["user"] * 5)}, "row 0: other-version: lsh version 'user', .* takes 'l1'"),
        ({"pair_version": pa.array([None] * 5, pa.string())}, "row 0: other-version: pair version ''"),
        ({"event_time_ms": pa.array(with_row(TIMES, 3, -1))}, "row 3: bad-time"),
        ({"event_time_ms": pa.array(with_row(TIMES, 3, None))}, "row 3: bad-time: event_time_ms None"),
        ({"event_time_ms": pa.array(with_row(TIMES, 3, 2**64 - 1), pa.uint64())}, "row 3: bad-time"),
        ({"event_time_ms": pa.array([t // 1_000 for t in TIMES])}, "row 0: bad-time: .*looks like seconds"),
        ({"source_uri": pa.array(["x" * 3_000] * 5)}, "row 0: bad-uri"),
        ({"pdq": pa.array(HASHES)}, "row 0: bad-pdq: pdq has no pdq_quality, 0 to 100"),
        (
            {"pdq": pa.array(["ab"] * 5), "pdq_quality": pa.array([1] * 5)},
            "row 0: bad-pdq: the PDQ hash has 1 bytes, 32",
        ),
        ({"pdq": pa.array(["xy"] * 5), "pdq_quality": pa.array([1] * 5)}, "row 0: bad-pdq: pdq is b'xy', 64 hexad"),
        ({"pdq_quality": pa.array([1] * 5)}, "row 0: bad-pdq: the PDQ hash has 0 bytes, 32 are expected"),
        ({"image_id": pa.nulls(5)}, "row 0: bad-id: None"),
        ({"pair": pa.nulls(5)}, "row 0: bad-dimension: the pair vector is null"),
    ],
)
def test_a_bad_row_is_reported_by_number_and_reason_and_the_others_are_read(
    tmp_path: Path, changes: dict[str, pa.Array], says: str
) -> None:
    images, bad = read(written(tmp_path, **changes))
    assert len(images) + len(bad) == ROWS
    assert re.search(says, bad[0])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_id": pa.array(range(5))}, r"column 'image_id' has the type int64, expected a string"),
        ({"image_id": pa.array([["a"]] * 5)}, r"column 'image_id' has the type list<"),
        ({"lsh": pa.array(["0.1 0.2"] * 5)}, r"column 'lsh' has the type string, expected a list of floats"),
        ({"lsh": pa.array([[[1.0], [2.0], [3.0]]] * 5)}, r"column 'lsh' has the type list<"),
        ({"pair": pa.array([[1, 2]] * 5)}, r"column 'pair' has the type list<.*int64"),
        ({"event_time_ms": pa.array(["soon"] * 5)}, r"column 'event_time_ms' has the type string, expected an integer"),
        ({"event_time_ms": pa.array([1.5] * 5)}, r"column 'event_time_ms' has the value 1\.5"),
        ({"lsh_version": pa.array([1] * 5)}, r"column 'lsh_version' has the type int64, expected a string"),
        ({"pair": None}, r"lacks the columns \['pair'\]"),
    ],
)
def test_a_column_of_another_type_is_named_with_its_type(
    tmp_path: Path, changes: dict[str, pa.Array], says: str
) -> None:
    with pytest.raises(BadArtefact, match=says):
        read(written(tmp_path, **changes))


def test_a_duplicate_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "twice.parquet"
    columns = [*GOOD.values(), GOOD["lsh"]]
    pq.write_table(pa.Table.from_arrays(columns, names=[*GOOD, "lsh"]), path)
    with pytest.raises(BadArtefact, match="several columns 'lsh'"):
        read(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"lsh": pa.array(LSH, pa.list_(pa.float64()))},
        {"lsh": pa.array(LSH, pa.list_(pa.float32(), 3))},
        {"lsh": pa.array([[np.float16(x) for x in row] for row in LSH], pa.list_(pa.float16()))},
        {"lsh": pa.array(LSH, pa.large_list(pa.float32()))},
        {"lsh": pa.array([np.array(row, "<f4").tobytes() for row in LSH])},
        {"lsh": pa.array([np.array(row, "<f2").tobytes() for row in LSH], pa.binary(6))},
        {"image_id": GOOD["image_id"].dictionary_encode(), "lsh_version": GOOD["lsh_version"].dictionary_encode()},
        {"image_id": GOOD["image_id"].cast(pa.large_string())},
        {"event_time_ms": pa.array(TIMES, pa.uint64())},
        {"source_uri": None},
        {"source_uri": pa.nulls(5)},
    ],
)
def test_every_type_that_can_represent_the_values_is_read(tmp_path: Path, changes: dict[str, pa.Array]) -> None:
    images, bad = read(written(tmp_path, **changes))
    assert bad == []
    assert [image.lsh.vector.tolist() for image in images] == LSH


def test_missing_versions_and_times_have_defaults_only_if_given(tmp_path: Path) -> None:
    path = written(tmp_path, lsh_version=None, pair_version=None, event_time_ms=None)
    with pytest.raises(BadArtefact, match=r"\['event_time_ms', 'lsh_version', 'pair_version'\]"):
        read(path)
    images, bad = read(path, defaults=Defaults("l1", lambda: NOW_MS))
    assert (images, bad[0].split(":")[1]) == ([], " other-version")
    assert read(path, defaults=Defaults("l1", lambda: NOW_MS), newer={Kind.PAIR: ("l1",)})[1] == []


def test_garbage_and_a_truncated_file_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for data in (b"", b"garbage", whole[:-20], whole[:40] + bytes(60) + whole[100:]):
        path.write_bytes(data)
        with pytest.raises(BadArtefact):
            read(path)


def test_what_is_written_is_read_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    hashes = [PdqHash(bytes(range(32)), 100), None, PdqHash(bytes(32), 0), None]
    images = [
        JoinedImage(
            *(
                Embedding(
                    name, kind, model.version, rng.standard_normal(model.dim, np.float32), NOW_MS + n, "s3://x", pdq=pdq
                )
                for kind, model in MODELS.items()
            )
        )
        for n, (name, pdq) in enumerate(zip(("a", "é/ü.jpg", "\u202f", "👨‍👩‍👧"), hashes, strict=True))
    ]

    def batches() -> Iterator[list[JoinedImage]]:
        yield images[:3]
        yield images[3:]

    path = tmp_path / "out.parquet"
    assert write_embeddings(path, batches(), MODELS) == 4
    back, bad = read(path)
    assert bad == []
    for sent, found in zip(images, back, strict=True):
        assert (found.image_id, found.event_time_ms, found.source_uri) == (sent.image_id, sent.event_time_ms, "s3://x")
        assert found.pdq == sent.pdq
        for kind in Kind:
            assert found.embedding(kind).vector.tobytes() == sent.embedding(kind).vector.tobytes()


def test_an_unwritable_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BadArtefact, match="cannot be written"):
        write_embeddings(tmp_path / "nowhere" / "out.parquet", iter([]), MODELS)
    assert list(tmp_path.iterdir()) == []
