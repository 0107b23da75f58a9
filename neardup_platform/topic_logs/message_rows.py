"""The columns of the messages of a topic by their descriptor, and the values of parsed messages. Pure.

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


PLACE = [
    pa.field("kafka_partition", pa.int32()),
    pa.field("kafka_offset", pa.int64()),
    pa.field("kafka_timestamp", pa.timestamp("ms", tz="UTC")),
]


def log_schema(of: Descriptor) -> pa.Schema:
    """The columns of a log: the fields of its messages, then their places in the topic."""
    return pa.schema([*message_fields(of), *PLACE])


def message_fields(of: Descriptor) -> list[pa.Field]:
    """The columns of a message."""
    return [pa.field(field.name, _column_type(field)) for field in of.fields]


def message_columns(of: Descriptor, messages: Sequence[Any]) -> list[pa.Array]:
    """The columns of many messages, one row each, as of `message_fields`."""
    return [_column(field, [getattr(message, field.name) for message in messages], messages) for field in of.fields]


def _column_type(field: FieldDescriptor) -> pa.DataType:
    if is_map(field):
        key, value = (one_type(part) for part in message_of(field).fields)
        return pa.map_(key, value)
    return pa.list_(one_type(field)) if field.is_repeated else one_type(field)


def one_type(field: FieldDescriptor) -> pa.DataType:
    """The type of one value of a field."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return pa.struct(message_fields(message_of(field)))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return pa.binary() if field.type == FieldDescriptor.TYPE_BYTES else pa.string()
    return _SCALARS[field.cpp_type]


def _column(field: FieldDescriptor, values: list[Any], messages: Sequence[Any]) -> pa.Array:
    if is_map(field):
        key, item = message_of(field).fields
        entries = [sorted(value.items()) for value in values]
        keys, items = ([entry[part] for each in entries for entry in each] for part in (0, 1))
        return pa.MapArray.from_arrays(_offsets(entries), _ones(key, keys), _ones(item, items))
    if field.is_repeated:
        return pa.ListArray.from_arrays(_offsets(values), _ones(field, [one for value in values for one in value]))
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        absent = pa.array([not message.HasField(field.name) for message in messages], pa.bool_())
        return _struct(message_of(field), values, absent)
    return _ones(field, values)


def _ones(field: FieldDescriptor, values: list[Any]) -> pa.Array:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return _struct(message_of(field), values, None)
    if field.enum_type is not None:
        names = enum_names(field)
        # A newer producer may send a value that has no name here.
        values = [names.get(value, str(value)) for value in values]
    return pa.array(values, one_type(field))


def _struct(of: Descriptor, messages: list[Any], absent: pa.Array | None) -> pa.StructArray:
    return pa.StructArray.from_arrays(message_columns(of, messages), fields=message_fields(of), mask=absent)


def _offsets(values: Sequence[Any]) -> pa.Array:
    return pa.array([0, *accumulate(len(value) for value in values)], pa.int32())


def enum_names(field: FieldDescriptor) -> dict[int, str]:
    """The names of an enum as they are in columns, by number."""
    if field.enum_type is None:
        raise TypeError(f"{field.full_name} is no enum")
    prefix = len(field.enum_type.name) + 1
    return {number: value.name[prefix:].lower() for number, value in field.enum_type.values_by_number.items()}


def message_of(field: FieldDescriptor) -> Descriptor:
    """The message type of a field that has one."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is no message")
    return field.message_type


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map, which on the wire is a repeated message with `key` and `value`."""
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)
