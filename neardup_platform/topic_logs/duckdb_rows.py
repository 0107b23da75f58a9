"""What rows of a log are, in a few numbers that do not depend on how they are divided into files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from neardup_platform.topic_logs.duckdb_files import parquet_rows
from neardup_platform.topic_logs.topic_log import TopicLog

_MEMORY = "512MB"


class RowsSeen(NamedTuple):
    """Some rows.

    Attributes:
        rows: how many.
        first, last: offset; None without rows.
        digest: combined hash of all their columns; an offset makes each row differ from every other.
    """

    rows: int = 0
    first: int | None = None
    last: int | None = None
    digest: int | None = None


def rows_seen(of: TopicLog, file: Path, spans: Sequence[tuple[int, int]] | None = None) -> list[RowsSeen]:
    """What is in spans of rows of a file.

    Args:
        of: a column of its schema that the file lacks is null.
        spans: first row and number of rows of each, ascending and without gaps; None for one span of the whole file.

    Returns:
        One for each span.
    """
    query = f"""
        with stored as (from known union all by name from {parquet_rows([file], "file_row_number")}),
        hashed as (
            select file_row_number as number, kafka_offset as place, hash(row({", ".join(map(_quoted, of.schema.names))})) as mark
            from stored
        )
        select span, count(*), min(place), max(place), bit_xor(mark)
        from hashed asof join spans on hashed.number >= spans.first group by span
    """  # noqa: S608, E501 -- names of our own schema
    filled = [(0, -1)] if spans is None else [span for span in spans if span[1]]
    with duckdb.connect(config={"threads": 2, "memory_limit": _MEMORY}) as db:
        db.register("known", of.schema.empty_table())
        db.execute("create temp table spans (span int, first bigint)")
        db.executemany(
            "insert into spans values (?, ?)", [(n, first) for n, (first, _) in enumerate(filled)] or [(0, 0)]
        )
        found = {int(row[0]): _seen(*row[1:]) for row in db.execute(query).fetchall()}
    seen = iter([found.get(n, RowsSeen()) for n in range(len(filled))])
    return [next(seen)] if spans is None else [next(seen) if count else RowsSeen() for _, count in spans]


def _seen(rows: Any, first: Any, last: Any, digest: Any) -> RowsSeen:
    return RowsSeen(int(rows), int(first), int(last), int(digest))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
