"""Metadata that Dagster's asset pages know by name: where a table is, how many rows it has, and its columns. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

URI = "dagster/uri"
# Of all of the table, and of a materialised partition.
ROWS, PARTITION_ROWS = "dagster/row_count", "dagster/partition_row_count"
_COLUMNS = "dagster/column_schema"
_NO_COLUMNS = dg.TableSchema([])


def number(value: float) -> dg.FloatMetadataValue:
    """A number as people read it, of four significant digits."""
    return dg.MetadataValue.float(float(f"{value:.4g}"))


def table(records: Iterable[Mapping[str, Any]], names: Sequence[str] = ()) -> dg.TableMetadataValue:
    """Records as a table, numbers as people read them; there may be none, of which Dagster cannot tell the columns.

    Args:
        names: of the columns; all if none are named. A page cuts off what is wider than some five columns.
    """
    rows = [dg.TableRecord({name: _cell(record[name]) for name in names or record}) for record in records]
    return dg.MetadataValue.table(rows, None if rows else _NO_COLUMNS)


def _cell(value: Any) -> Any:
    return number(value).value if isinstance(value, float) else value


def columns(
    types: Iterable[tuple[str, str]], described: Mapping[str, str] | None = None
) -> dict[str, dg.TableSchemaMetadataValue]:
    """The columns of a table.

    Args:
        types: name and type of each, in order.
        described: what they hold, by name; the others are not described.
    """
    texts = described or {}
    return {
        _COLUMNS: dg.MetadataValue.table_schema(
            dg.TableSchema([dg.TableColumn(name, kind, description=texts.get(name)) for name, kind in types])
        )
    }
