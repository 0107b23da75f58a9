"""Small data sets for tests: rows as mappings, written as Parquet files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from neardup_platform.bootstrap.parquet_rows import Rows, read_rows
from neardup_platform.bootstrap.parquet_source import Source
from neardup_platform.records import Kind, ModelSpec

NOW_MS = 1_700_000_000_000
MODELS = {Kind.LSH: ModelSpec("l1", 3), Kind.PAIR: ModelSpec("p1", 2)}
Row = Mapping[str, Any]


def row(image_id: Any, head: Any = None, kinds: str = "lp", at: Any = NOW_MS, **more: Any) -> Row:
    """A good row; `kinds` says which embeddings it has."""
    made = {
        "image_id": image_id,
        "head": head,
        "lsh": [1.0, 0.0, 0.5] if "l" in kinds else None,
        "pair": [0.5, 0.25] if "p" in kinds else None,
        "lsh_version": "l1",
        "pair_version": "p1",
        "event_time_ms": at,
        "source_uri": None,
        "pdq": None,
        "pdq_quality": None,
    }
    return {**made, **more}


SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("head", pa.string()),
        ("lsh", pa.list_(pa.float32())),
        ("pair", pa.list_(pa.float16())),
        ("lsh_version", pa.string()),
        ("pair_version", pa.string()),
        ("event_time_ms", pa.int64()),
        ("source_uri", pa.string()),
        ("pdq", pa.string()),
        ("pdq_quality", pa.int64()),
    ]
)


def write(path: Path, rows: Sequence[Row], schema: pa.Schema = SCHEMA) -> Path:
    """Write a file."""
    half = [{**each, "pair": None if each["pair"] is None else np.array(each["pair"], np.float16)} for each in rows]
    pq.write_table(pa.Table.from_pylist(half, schema), path, row_group_size=4)
    return path


def read(folder: Path, *files: Sequence[Row]) -> Rows:
    """The rows of some files."""
    paths = [write(folder / f"{number}.parquet", rows) for number, rows in enumerate(files)]
    return read_rows([source(path) for path in paths], MODELS, NOW_MS)


def source(path: Path) -> Source:
    """A local file as part of a data set."""
    return Source(path.name, lambda: path)
