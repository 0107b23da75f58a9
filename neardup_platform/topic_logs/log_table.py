"""Records of a topic as rows of its log. Pure.

Records → columns from their bytes (protobuf_columns.py); the few odd ones by the protobuf library (message_rows.py) →
**table**, in the order of the records
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError

from neardup_platform.kafka.record_block import RecordBlock
from neardup_platform.topic_logs.message_rows import PLACE, message_columns
from neardup_platform.topic_logs.protobuf_columns import OddMessages, columns_of


def log_table(of: Any, identity: str, schema: pa.Schema, records: RecordBlock) -> pa.Table:
    """Rows of `message_rows.log_schema`.

    Args:
        of: the class of the messages.
        identity: a field that no message lacks. A record without it, or that is no such message, has null in the
            columns of the message.
        schema: of the table.
        records: in the order of the rows.
    """
    columns, rows = _message_columns(of, records)
    names = [field.name for field in of.DESCRIPTOR.fields]
    lacking = pc.equal(columns[names.index(identity)], "").to_numpy(zero_copy_only=False)
    known = rows >= 0
    known[known] = ~lacking[rows[known]]
    if not known.all() or (rows[1:] < rows[:-1]).any():
        chosen = pa.array(rows, mask=~known)
        columns = [column.take(chosen) for column in columns]
    places = (records.partitions, records.offsets, records.timestamps_ms)
    columns += [pa.array(values).cast(field.type) for values, field in zip(places, PLACE, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def _message_columns(of: Any, records: RecordBlock) -> tuple[list[pa.Array], Any]:
    """The columns of the messages that are some, and the row there of each record; -1 for one that is no message."""
    odd = np.zeros(len(records), np.bool_)
    while True:
        even = records[~odd]
        try:
            columns = columns_of(of.DESCRIPTOR, even.data, even.starts, even.ends)
            break
        except OddMessages as found:
            odd[np.flatnonzero(~odd)[found.rows]] = True
    rows = np.cumsum(~odd) - 1
    if odd.any():
        parsed = {row: _parsed(of, records.value(row)) for row in np.flatnonzero(odd).tolist()}
        good = [row for row, message in parsed.items() if message is not None]
        rows[odd] = -1
        rows[good] = len(even) + np.arange(len(good))
        others = message_columns(of.DESCRIPTOR, [parsed[row] for row in good])
        columns = [pa.concat_arrays(pair) for pair in zip(columns, others, strict=True)]
    return columns, rows


def _parsed(of: Any, value: bytes) -> Any:
    try:
        return of.FromString(value)
    except DecodeError:
        return None
