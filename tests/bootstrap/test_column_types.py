"""The types that the documentation names are read as what they mean, or refused by name and type."""

import re
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neardup_platform.bootstrap.parquet_rows import read_rows
from neardup_platform.errors import BadArtefact
from tests.bootstrap.data_files import MODELS, NOW_MS, SCHEMA, row, source
from tests.bootstrap.what_is_read import what_is_read

PAGE = Path(__file__).parents[2] / "docs" / "tasks" / "bootstrap.md"
TEXTS, VECTORS, TIMES = (
    ("image_id", "head", "source_uri", "lsh_version", "pair_version"),
    ("lsh", "pair"),
    "event_time_ms",
)
ROWS = [
    row("a", "a", pdq="ab" * 32, pdq_quality=50),
    row("b ä", "a", at=NOW_MS - 1_000, lsh=[0.5, 0.25, -1.0]),
    row("c", kinds="p", at=NOW_MS - 2_000, source_uri="s3://ü/c"),
    row("d", at=NOW_MS - 3_000, pdq="cd" * 32, pdq_quality=100),
    row("e", at=NOW_MS - 4_000),
]
Values = Sequence[Any]


def typed(kind: pa.DataType) -> Callable[[Values], pa.Array]:
    return lambda values: pa.array(values, kind)


def encoded(kind: pa.DataType) -> Callable[[Values], pa.Array]:
    return lambda values: pa.array([None if value is None else value.encode() for value in values], kind)


def listed(kind: Callable[[int], pa.DataType], dtype: Any = float) -> Callable[[Values], pa.Array]:
    """Vectors as lists, of a type that depends on the dimension."""

    def array(values: Values) -> pa.Array:
        rows = [None if value is None else [dtype(number) for number in value] for value in values]
        return pa.array(rows, kind(max(len(value) for value in values if value is not None)))

    return array


def packed(kind: Callable[[int], pa.DataType], dtype: str) -> Callable[[Values], pa.Array]:
    """Vectors as bytes, of a type that depends on their number."""

    def array(values: Values) -> pa.Array:
        rows = [None if value is None else np.array(value, dtype).tobytes() for value in values]
        return pa.array(rows, kind(max(len(value) for value in rows if value is not None)))

    return array


def moments(unit: str, zone: str | None) -> Callable[[Values], pa.Array]:
    return lambda values: pa.array(values, pa.timestamp("ms", zone)).cast(pa.timestamp(unit, zone))


def decimals(values: Values) -> pa.Array:
    return pa.array([None if value is None else Decimal(value) for value in values], pa.decimal128(20, 0))


NUMBERS = {
    "int64": typed(pa.int64()),
    "uint64": typed(pa.uint64()),
    "float64": typed(pa.float64()),
    "decimal": decimals,
}
READ: dict[str, dict[str, Callable[[Values], pa.Array]]] = {
    "image_id": {
        "string": typed(pa.string()),
        "large_string": typed(pa.large_string()),
        "string_view": typed(pa.string_view()),
        "binary": encoded(pa.binary()),
        "large_binary": encoded(pa.large_binary()),
        "binary_view": encoded(pa.binary_view()),
        "dictionary": lambda values: pa.array(values, pa.string()).dictionary_encode(),
    },
    "lsh": {
        "list<float32>": listed(lambda _: pa.list_(pa.float32())),
        "list<float16>": listed(lambda _: pa.list_(pa.float16()), np.float16),
        "list<float64>": listed(lambda _: pa.list_(pa.float64())),
        "large_list<float32>": listed(lambda _: pa.large_list(pa.float32())),
        "fixed_size_list<float32>": listed(lambda dim: pa.list_(pa.float32(), dim)),
        "fixed_size_list<float16>": listed(lambda dim: pa.list_(pa.float16(), dim), np.float16),
        "list_view<float32>": listed(lambda _: pa.list_view(pa.float32())),
        "binary": packed(lambda _: pa.binary(), "<f4"),
        "large_binary": packed(lambda _: pa.large_binary(), "<f2"),
        "binary_view": packed(lambda _: pa.binary_view(), "<f4"),
        "fixed_size_binary": packed(pa.binary, "<f2"),
    },
    "event_time_ms": {
        **NUMBERS,
        **{f"timestamp[{unit}]": moments(unit, "Europe/Berlin") for unit in ("s", "ms", "us", "ns")},
    },
    "pdq_quality": {**NUMBERS, "int32": typed(pa.int32())},
}
REFUSED: dict[str, dict[str, pa.Array]] = {
    "image_id": {
        "int64": pa.array([1]),
        "uuid": pa.array([uuid.UUID(int=1).bytes], pa.uuid()),
        "fixed_size_binary": pa.array([b"ab"], pa.binary(2)),
    },
    "lsh": {
        "list<int64>": pa.array([[1, 2, 3]]),
        "list<decimal>": pa.array([[Decimal(1)] * 3], pa.list_(pa.decimal128(9, 0))),
        "struct": pa.array([{"type": 1, "size": 3, "values": [1.0, 2.0, 3.0]}]),
        "string": pa.array(["[1, 2, 3]"]),
    },
    "event_time_ms": {
        "timestamp[us]": pa.array([1], pa.timestamp("us")),
        "date32": pa.array([1], pa.date32()),
        "string": pa.array(["2026-01-01"]),
    },
    "pdq_quality": {"float": pa.array([1], pa.float32()), "string": pa.array(["1"])},
}
SAME_AS_FIRST = {"image_id": TEXTS, "lsh": VECTORS}


def test_the_documentation_names_the_types_that_are_tested() -> None:
    table = re.search(r"\| column \| read \| refused \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", PAGE.read_text())
    assert table is not None
    documented = {}
    for line in table[1].splitlines():
        column, read, refused = ([*re.findall("`(.*?)`", cell)] for cell in line.strip("|").split(" | "))
        documented[column[0]] = (set(read), set(refused))
    assert documented == {column: (set(READ[column]), set(REFUSED[column])) for column in READ}


def written(folder: Path, columns: Sequence[str], array: Callable[[Values], pa.Array]) -> Path:
    table = pa.table({name: [each[name] for each in ROWS] for name in SCHEMA.names}, SCHEMA_OF_LISTS)
    for name in columns:
        table = table.set_column(SCHEMA.names.index(name), name, array([each[name] for each in ROWS]))
    path = folder / "x.parquet"
    pq.write_table(table, path, row_group_size=2)
    return path


SCHEMA_OF_LISTS = pa.schema(
    [field.with_type(pa.list_(pa.float32())) if field.name in VECTORS else field for field in SCHEMA]
)


@pytest.mark.parametrize(("column", "kind"), [(column, kind) for column in READ for kind in READ[column]])
def test_a_column_means_the_same_in_each_type(tmp_path: Path, column: str, kind: str) -> None:
    columns = SAME_AS_FIRST.get(column, (column,))
    plain = what_is_read([source(written(tmp_path, (), typed(pa.string())))])
    assert what_is_read([source(written(tmp_path, columns, READ[column][kind]))]) == plain


@pytest.mark.parametrize(("column", "kind"), [(column, kind) for column in REFUSED for kind in REFUSED[column]])
def test_a_column_of_another_type_is_refused_by_its_name_and_type(tmp_path: Path, column: str, kind: str) -> None:
    table = pa.table({name: [ROWS[0][name]] for name in SCHEMA.names}, SCHEMA_OF_LISTS)
    values = REFUSED[column][kind]
    path = tmp_path / "x.parquet"
    pq.write_table(table.set_column(SCHEMA.names.index(column), column, values), path)
    with pytest.raises(BadArtefact) as refused:
        read_rows([source(path)], MODELS, NOW_MS)
    assert re.match(rf"x\.parquet: its column '{column}' has the type .*(convert it|in UTC)$", str(refused.value))
    assert kind.partition("<")[0].partition("[")[0] in str(refused.value)


def test_the_fractions_of_a_float_are_named_with_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, [TIMES], lambda values: pa.array([value + 0.5 for value in values]))
    with pytest.raises(
        BadArtefact, match=r"^x\.parquet: its column 'event_time_ms' has the value 17.*\.5, expected an"
    ):
        read_rows([source(path)], MODELS, NOW_MS)
