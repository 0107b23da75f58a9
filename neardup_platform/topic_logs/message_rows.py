"""Messages of a topic as an Arrow table, by the descriptor of the message. Pure.

| field | column |
|---|---|
| number, bool, string, bytes | the same |
| enum | the name of its value in lower case, without the name of the enum: `lsh` for KIND_LSH |
| message | struct; null where it is absent |
| repeated | list |
| map | map |
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from neardup_platform.kafka.window import LogRecord

_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: pa.int32(),
    FieldDescriptor.CPPTYPE_INT64: pa.int64(),
    FieldDescriptor.CPPTYPE_UINT32: pa.uint32(),
    FieldDescriptor.CPPTYPE_UINT64: pa.uint64(),
    FieldDescriptor.CPPTYPE_FLOAT: pa.float32(),
    FieldDescriptor.CPPTYPE_DOUBLE: pa.float64(),
    FieldDescriptor.CPPTYPE_BOOL: pa.bool_(),
    FieldDescriptor.CPPTYPE_ENUM: pa.string(),
}


_PLACE = [
    pa.field("kafka_partition", pa.int32()),
    pa.field("kafka_offset", pa.int64()),
    pa.field("kafka_timestamp", pa.timestamp("ms", tz="UTC")),
]


def log_schema(of: Descriptor) -> pa.Schema:
    """The columns of a log: the fields of its messages, then their places in the topic."""
    return pa.schema([*message_fields(of), *_PLACE])


def log_table(of: Descriptor, messages: Sequence[Any], records: Sequence[LogRecord]) -> pa.Table:
    """Rows of `log_schema`.

    Args:
        messages: those of the records; None where a record is no such message, whose columns are null.
        records: in the order of the rows.
    """
    known = [message for message in messages if message is not None]
    columns = message_columns(of, known)
    if len(known) < len(messages):
        numbers = iter(range(len(known)))
        rows = pa.array([None if message is None else next(numbers) for message in messages], pa.int64())
        columns = [column.take(rows) for column in columns]
    places = [[getattr(record, name) for record in records] for name in ("partition", "offset", "timestamp_ms")]
    columns += [pa.array(values, field.type) for values, field in zip(places, _PLACE, strict=True)]
    return pa.Table.from_arrays(columns, schema=log_schema(of))


def message_fields(of: Descriptor) -> list[pa.Field]:
    """The columns of a message."""
    return [pa.field(field.name, _column_type(field)) for field in of.fields]


def message_columns(of: Descriptor, messages: Sequence[Any]) -> list[pa.Array]:
    """The columns of many messages, one row each, as of `message_fields`."""
    return [_column(field, [getattr(message, field.name) for message in messages], messages) for field in of.fields]


def _column_type(field: FieldDescriptor) -> pa.DataType:
    if _is_map(field):
        key, value = (_one_type(part) for part in _message(field).fields)
        return pa.map_(key, value)
    return pa.list_(_one_type(field)) if field.is_repeated else _one_type(field)


def _one_type(field: FieldDescriptor) -> pa.DataType:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return pa.struct(message_fields(_message(field)))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return pa.binary() if field.type == FieldDescriptor.TYPE_BYTES else pa.string()
    return _SCALARS[field.cpp_type]


def _column(field: FieldDescriptor, values: list[Any], messages: Sequence[Any]) -> pa.Array:
    if _is_map(field):
        key, item = _message(field).fields
        entries = [sorted(value.items()) for value in values]
        keys, items = ([entry[part] for each in entries for entry in each] for part in (0, 1))
        return pa.MapArray.from_arrays(_offsets(entries), _ones(key, keys), _ones(item, items))
    if field.is_repeated:
        return pa.ListArray.from_arrays(_offsets(values), _ones(field, [one for value in values for one in value]))
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        absent = pa.array([not message.HasField(field.name) for message in messages], pa.bool_())
        return _struct(_message(field), values, absent)
    return _ones(field, values)


def _ones(field: FieldDescriptor, values: list[Any]) -> pa.Array:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return _struct(_message(field), values, None)
    if field.enum_type is not None:
        prefix = len(field.enum_type.name) + 1
        names = {number: value.name[prefix:].lower() for number, value in field.enum_type.values_by_number.items()}
        # A newer producer may send a value that has no name here.
        values = [names.get(value, str(value)) for value in values]
    return pa.array(values, _one_type(field))


def _struct(of: Descriptor, messages: list[Any], absent: pa.Array | None) -> pa.StructArray:
    return pa.StructArray.from_arrays(message_columns(of, messages), fields=message_fields(of), mask=absent)


def _offsets(values: Sequence[Any]) -> pa.Array:
    return pa.array([0, *accumulate(len(value) for value in values)], pa.int32())


def _message(field: FieldDescriptor) -> Descriptor:
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is no message")
    return field.message_type


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)
