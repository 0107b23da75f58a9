"""Files of logs as views, with every column of today."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from neardup_platform.topic_logs.duckdb_files import parquet_rows
from neardup_platform.topic_logs.topic_log import TopicLog

# Enough for an hour at 200 images/s; beyond it DuckDB spills to disk.
MEMORY = "1GB"


def add_view(db: duckdb.DuckDBPyConnection, log: TopicLog, files: Sequence[Path]) -> None:
    """Add a view with the name of a log; columns that a file of an earlier version lacks are null."""
    db.register(f"known_{log.name}", log.schema.empty_table())
    found = f"create view {log.name} as from known_{log.name}"
    if files:
        found += f" union all by name from {parquet_rows(files)}"
    db.execute(found)
