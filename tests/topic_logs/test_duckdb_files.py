"""Claims about Parquet files that DuckDB reads: their columns are those of the files, wherever these are."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neardup_platform.topic_logs.duckdb_files import parquet_rows
from neardup_platform.topic_logs.duckdb_rows import rows_seen
from neardup_platform.topic_logs.topic_log import DECISIONS


@pytest.mark.parametrize(
    "folder", ["kind=7", "hour=2026-01-31T10", "a*", "a?", "[ab]", "it's", "kind=*/kafka_offset=9"]
)
def test_no_name_of_a_folder_changes_what_is_read(tmp_path: Path, folder: str) -> None:
    files = [tmp_path / folder / "0.parquet", tmp_path / folder / "1.parquet"]
    # What patterns would match.
    beside = [tmp_path / "ab" / "0.parquet", tmp_path / "a" / "0.parquet", tmp_path / "kind=1" / "kafka_offset=9" / "0"]
    for number, file in enumerate([*files, *beside]):
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"kind": [f"{number}"], "kafka_offset": [number]}), file)
    with duckdb.connect() as db:
        rows = db.execute(f"from {parquet_rows(files, 'filename')}").fetchall()
    assert rows == [("0", 0, str(files[0])), ("1", 1, str(files[1]))]
    (seen,) = rows_seen(DECISIONS, files[1])
    assert (seen.rows, seen.first, seen.last) == (1, 1, 1)
