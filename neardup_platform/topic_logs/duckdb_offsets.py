"""Queries over the offsets of Parquet files of a log, with DuckDB."""

from pathlib import Path
from typing import Any

import duckdb


def offset_gaps(file: Path) -> list[tuple[int, int]]:
    """Offsets missing between the first and the last of a file, as (first missing, next present)."""
    query = """
        select before + 1, kafka_offset from (
            select kafka_offset, lag(kafka_offset) over (order by kafka_offset) as before from read_parquet(?)
        ) where kafka_offset <> before + 1 order by 1
    """
    return [(int(first), int(following)) for first, following in _ask(query, file)]


def offset_span(file: Path) -> tuple[int, int] | None:
    """First and last offset of a file, or None if it is empty."""
    first, last = _ask("select min(kafka_offset), max(kafka_offset) from read_parquet(?)", file)[0]
    return None if first is None else (int(first), int(last))


def _ask(query: str, file: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(config={"threads": 2}) as connection:
        return connection.execute(query, [str(file)]).fetchall()
