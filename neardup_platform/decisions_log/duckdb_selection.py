"""A query of an operator's own over the decisions log, which may read its rows and nothing else."""

import threading
from collections.abc import Sequence
from pathlib import Path

import duckdb

from neardup_platform.errors import BadCommand
from neardup_platform.topic_logs.duckdb_files import parquet_rows
from neardup_platform.topic_logs.topic_log import DECISIONS

COLUMN = "image_id"
MAX_QUERY_BYTES = 20_000
_MEMORY = "1GB"
_SECONDS = 300.0


def check_query(query: str) -> str:
    """A query unchanged, if it only reads.

    Raises:
        BadCommand: it does not, or is too long.
    """
    if len(query.encode()) > MAX_QUERY_BYTES:
        raise BadCommand(f"the query has {len(query.encode())} bytes, at most {MAX_QUERY_BYTES} are allowed")
    try:
        with duckdb.connect() as connection:
            kinds = [statement.type.name for statement in connection.extract_statements(query)]
    except duckdb.Error as error:
        raise BadCommand(f"the query cannot be read: {error}") from error
    if kinds != ["SELECT"]:
        raise BadCommand(
            f"the query has {len(kinds)} statements ({', '.join(kinds) or 'none'}), one `select` is expected: it may "
            "read the table `decisions`, and change nothing"
        )
    return query


def selected_ids(files: Sequence[Path], query: str, most: int, seconds: float = _SECONDS) -> list[str]:
    """The image ids that a query returns, each once, in its order.

    Args:
        files: at least one Parquet file of a decisions log, in a folder of their own, where DuckDB also puts what does
            not fit into memory; the query reads them as the table `decisions`.
        query: as of `check_query`, with a column `image_id`.
        most: ids, beyond which the query is refused.
        seconds: of work, likewise.

    Raises:
        BadCommand: it fails, reads anything else, or returns too many.
    """
    folder = str(files[0].parent)
    with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2, "temp_directory": folder}) as connection:
        connection.register("known", DECISIONS.schema.empty_table())
        timer = threading.Timer(seconds, connection.interrupt)
        timer.start()
        try:
            connection.execute(_view(files))
            connection.execute(f"set allowed_directories = [{_text(folder)}]")
            connection.execute("set enable_external_access = false; set lock_configuration = true")
            found = connection.execute(query)
            names = [column[0] for column in found.description or ()]
            if COLUMN not in names:
                raise BadCommand(f"the query returns the columns {names}, one named {COLUMN} is expected")
            rows = found.fetchmany(most + 1)
        except duckdb.InterruptException as error:
            raise BadCommand(f"the query took more than {seconds:.0f} s: narrow it, or the hours") from error
        except duckdb.Error as error:
            raise BadCommand(f"the query fails: {error}") from error
        finally:
            timer.cancel()
    if len(rows) > most:
        raise BadCommand(f"the query returns more than {most} rows: narrow it, or the hours")
    column = names.index(COLUMN)
    return list(dict.fromkeys(str(row[column]) for row in rows if row[column] is not None))


def _view(files: Sequence[Path]) -> str:
    """Files of earlier versions lack columns, which are null then."""
    return f"create view decisions as from known union all by name from {parquet_rows(files)}"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
