"""Parquet files as rows of a query of DuckDB, whatever their folders are called. Pure.

DuckDB takes a folder such as `kind=7` for a column, which then replaces that of the files, and `*`, `?` and `[` in a
path for a pattern.
"""

import re
from collections.abc import Sequence
from pathlib import Path


def parquet_rows(files: Sequence[Path], *more: str) -> str:
    """SQL for the rows of some files, at least one; a column that a file lacks is null.

    Args:
        more: options of `read_parquet` that are true, such as `filename`.
    """
    listed = ", ".join("'" + re.sub(r"[*?[]", r"[\g<0>]", str(file)).replace("'", "''") + "'" for file in files)
    options = ", ".join(f"{name} = true" for name in ("union_by_name", *more))
    return f"read_parquet([{listed}], hive_partitioning = false, {options})"
