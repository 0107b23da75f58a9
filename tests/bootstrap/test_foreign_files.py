"""Files that other tools write are read as what they mean, or refused with the column and the next step."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neardup_platform.bootstrap.parquet_rows import Rows, read_rows
from neardup_platform.bootstrap.parquet_source import Source
from neardup_platform.bootstrap.parquet_vector_pass import Place, row_groups, write_group
from neardup_platform.bootstrap.parquet_vectors import read_vectors
from neardup_platform.bootstrap.row_fates import Fate
from neardup_platform.errors import BadArtefact
from neardup_platform.ingest.parquet_columns import check_column, integers
from neardup_platform.records import Kind
from tests.bootstrap.data_files import MODELS, NOW_MS, SCHEMA, row, source, write
from tests.bootstrap.what_is_read import what_is_read

FOREIGN = Path(__file__).parent / "foreign"
REFUSED = {
    "spark-local-time": "'event_time_ms' has the type timestamp[us] without a time zone",
    "duckdb-local-time": "'event_time_ms' has the type timestamp[us] without a time zone",
    "spark-ml-vector": "'pair' has the type struct<type: int8 not null, size: int32, ",
    "duckdb-uuid": "'image_id' has the type extension<arrow.uuid>, expected a string: convert it",
    "polars-int128": "write it again with integers of 64 bits instead of 128, or without that column",
    "spark-int96": "'event_time_ms' has the type timestamp[ns] without a time zone",
    "duckdb-1.1-array": "'lsh' has the type list<array: struct<element: float>",
    "duckdb-null-array": "column 'lsh' of row group 0 cannot be read: ",
    "fastparquet-json": "expected a list of floats, or binary: convert it",
    "arrow-encrypted-column": "write it again without encryption",
}
READ = sorted(path.stem for path in FOREIGN.glob("*.parquet") if path.stem not in REFUSED)


def foreign(name: str) -> Source:
    return source(FOREIGN / f"{name}.parquet")


IDS = [f"shop/ä {number}" for number in range(4)]
LSH = [[1, 0, 0.5], [1, 0.125, 0.5], [1, 0.25, 0.5], None]
MEANT = [
    {
        "image_id": IDS[number],
        "head": IDS[0] if number < 2 else None,
        "at": NOW_MS - 1_000 * number,
        "uri": f"s3://b/{number}" if number % 2 else None,
        "pdq": ("ab" * 32, 50) if number == 1 else (None, None),
        "fate": [Fate.HEADED, Fate.HEADED, Fate.UNDECIDED, Fate.HALF][number],
        "lsh": LSH[number],
        "pair": [0.5, 0.25 * number],
    }
    for number in range(4)
]


@pytest.mark.parametrize("name", READ)
def test_files_of_all_tools_mean_the_same(name: str) -> None:
    assert what_is_read([foreign(name)]) == MEANT


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_refused_with_the_next_step(name: str) -> None:
    with pytest.raises(BadArtefact) as refused:
        read_rows([foreign(name)], MODELS, NOW_MS)
    assert str(refused.value).startswith(f"{name}.parquet: ")
    assert REFUSED[name] in str(refused.value)


def test_a_null_vector_that_the_statistics_deny_is_never_a_vector_of_zeros() -> None:
    file = foreign("polars-1.20")
    rows = read_rows([file], MODELS, NOW_MS)
    # As if the statistics had been believed.
    believed = Rows(**{name: getattr(rows, name) for name in Rows.__slots__} | {"present": dict.fromkeys(Kind, ALL)})
    with pytest.raises(BadArtefact, match=r"polars-1\.20\.parquet: row 3: its lsh vector is null"):
        list(read_vectors([file], believed, MODELS, ALL))
    place, groups = Place(Kind.LSH, Discarded(), np.arange(4)), row_groups([file])
    with pytest.raises(BadArtefact, match=r"polars-1\.20\.parquet: row 3: its lsh vector is null"):
        list(write_group(next(groups), MODELS, [place]))


ALL = np.ones(4, np.bool_)


class Discarded:
    """A target that keeps nothing."""

    def write(self, kind: Kind, images: object, vectors: object) -> None:
        """Keep nothing."""


def test_another_column_whose_name_begins_like_an_embedding_says_nothing_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [row("a"), row("b", kinds="p")])
    table = pq.read_table(path)
    pq.write_table(table.add_column(0, "lsh.old", pa.array([[1.0] * 3] * 2)), path)
    assert read_rows([source(path)], MODELS, NOW_MS).present[Kind.LSH].tolist() == [True, False]


@pytest.mark.parametrize("other", ["Head", "HEAD", " head", "he-ad"])
def test_a_column_under_another_name_is_not_ignored(tmp_path: Path, other: str) -> None:
    path = write(tmp_path / "x.parquet", [row("a", "a")])
    pq.write_table(pq.read_table(path).rename_columns({"head": other}), path)
    with pytest.raises(BadArtefact, match=rf"x\.parquet: its column '{other}' must be named 'head': rename it"):
        read_rows([source(path)], MODELS, NOW_MS)


def test_a_column_that_is_only_the_name_of_a_folder_is_not_ignored(tmp_path: Path) -> None:
    without = pa.schema([field for field in SCHEMA if field.name != "head"])
    path = write(tmp_path / "x.parquet", [row("a", "a")], without)
    with pytest.raises(BadArtefact, match="'head' is only in the name of its folder, 'head=a': write it into the file"):
        read_rows([Source("s3://b/bootstrap/shop/head=a/x.parquet", lambda: path)], MODELS, NOW_MS)
    assert len(read_rows([Source("s3://b/bootstrap/shop/day=1/x.parquet", lambda: path)], MODELS, NOW_MS)) == 1


TIMES = {
    "double": (pa.array([1.7e12, np.nan, None]), [1_700_000_000_000, None, None]),
    "uint64": (pa.array([5, 2**64 - 1], pa.uint64()), [5, None]),
    "nanoseconds": (pa.array([1_999_999, None], pa.timestamp("ns", "UTC")), [1, None]),
    "another zone": (pa.array([1_500], pa.timestamp("ms", "Asia/Tokyo")), [1_500]),
    "a zone that is not known": (pa.array([2_500], pa.timestamp("us", "Mars/Olympus")), [2]),
    "decimal": (pa.array([Decimal(7), None, Decimal(10**30)], pa.decimal128(38, 0)), [7, None, None]),
    "small decimal": (pa.array([Decimal(-7)], pa.decimal128(9, 0)), [-7]),
    "dictionary": (pa.array([7, 7]).dictionary_encode(), [7, 7]),
}


@pytest.mark.parametrize("column", TIMES)
def test_times_of_many_types_are_unix_milliseconds(column: str) -> None:
    values, expected = TIMES[column]
    batch = pa.record_batch({"event_time_ms": values})
    check_column(batch.schema, "event_time_ms")
    assert integers(batch, "event_time_ms").to_pylist() == expected


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("image_id", pa.decimal128(38, 0), "a string"),
        ("image_id", pa.int64(), "a string"),
        ("event_time_ms", pa.decimal128(20, 3), "an integer, Unix milliseconds"),
        ("event_time_ms", pa.decimal256(40, 0), "an integer, Unix milliseconds"),
        ("event_time_ms", pa.date32(), "an integer, Unix milliseconds"),
        ("lsh", pa.list_(pa.decimal128(10, 6)), "a list of floats, or binary"),
    ],
)
def test_numbers_that_would_be_guesswork_are_refused_with_the_next_step(
    name: str, kind: pa.DataType, expected: str
) -> None:
    with pytest.raises(BadArtefact, match=f"column '{name}' has the type .*, expected {expected}: convert it"):
        check_column(pa.schema([(name, kind)]), name)


@pytest.mark.parametrize("value", [1.5, float("inf"), -1e300])
def test_a_float_that_is_no_integer_is_named(value: float) -> None:
    with pytest.raises(BadArtefact, match=r"'event_time_ms' has the value .*expected an integer, Unix milliseconds"):
        integers(pa.record_batch({"event_time_ms": [1e3, None, value]}), "event_time_ms")


def test_an_id_that_fills_a_file_is_named_by_its_beginning(tmp_path: Path) -> None:
    rows = [row("a", "a"), row("x" * 1_000_000), row("x" * 1_000_001, "y" * 1_000_000)]
    found = read_rows([source(write(tmp_path / "long.parquet", rows))], MODELS, NOW_MS)
    assert sum(len(value.as_py() or b"") for column in (found.image_id, found.head) for value in column) < 10_000
    assert found.details[1].endswith("1000000 bytes, 1 to 512 allowed")
