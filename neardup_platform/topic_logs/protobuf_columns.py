"""Arrow columns of many protobuf messages, from their bytes, without a Python object for each. Pure.

Bytes of messages → where each field occurs (protobuf_kernels.py) → **columns**, as of `message_rows.message_columns`

Messages within messages are read alike: the places of the inner ones are found with the outer ones. Messages that need
a closer look (malformed, text that is no UTF-8, what is sent twice) are named in `OddMessages`, and are left
to the protobuf library.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from numpy.typing import NDArray

from neardup_platform.topic_logs.message_rows import enum_names, is_map, message_of, one_type
from neardup_platform.topic_logs.protobuf_kernels import (
    BYTES,
    FIXED32,
    FIXED64,
    SKIPPED,
    UNEXPECTED,
    VARINT,
    find_fields,
    gather,
)

_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: np.int32,
    FieldDescriptor.CPPTYPE_INT64: np.int64,
    FieldDescriptor.CPPTYPE_UINT32: np.uint32,
    FieldDescriptor.CPPTYPE_UINT64: np.uint64,
    FieldDescriptor.CPPTYPE_ENUM: np.int32,
}
_WIRES = {FieldDescriptor.TYPE_FLOAT: FIXED32, FieldDescriptor.TYPE_DOUBLE: FIXED64}
_SIMPLE = frozenset(
    {
        *(FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT32),
        *(FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_ENUM),
    }
)
_OF_BYTES = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE})


class OddMessages(Exception):
    """Messages that need a closer look; `rows` are their numbers, ascending."""

    def __init__(self, rows: NDArray[Any]) -> None:
        super().__init__(f"{len(rows)} messages")
        self.rows: NDArray[Any] = np.unique(rows)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Places of some messages or values in the data: int64 [n] each."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class _Found:
    """Occurrences of a field: number of the message, and what was read."""

    rows: NDArray[np.int32]
    values: NDArray[np.uint64]
    sizes: NDArray[np.int32]

    def pieces(self, data: NDArray[np.uint8]) -> _Pieces:
        starts = self.values.view(np.int64)
        return _Pieces(data, starts, starts + self.sizes)


def columns_of(
    of: Descriptor, data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> list[pa.Array]:
    """The columns of messages, one row each.

    Args:
        data: uint8, with the messages at data[starts[n]:ends[n]].
        starts, ends: int64 [n].

    Raises:
        OddMessages: some of them need a closer look.
    """
    return _columns(of, _Pieces(data, starts, ends))


def _columns(of: Descriptor, messages: _Pieces) -> list[pa.Array]:
    found = _occurrences(of, messages)
    return [_column(field, each, messages) for field, each in zip(of.fields, found, strict=True)]


def _occurrences(of: Descriptor, messages: _Pieces) -> list[_Found]:
    plan = _plan(of)
    odd, counts = np.zeros(len(messages), np.bool_), np.zeros(len(of.fields), np.int64)
    nothing = np.zeros(0, np.int32), np.zeros(0, np.uint64), np.zeros(0, np.int32)
    span = messages.data, messages.starts, messages.ends, plan
    find_fields(*span, counts, odd, nothing)
    if odd.any():
        raise OddMessages(np.flatnonzero(odd))
    total = int(counts.sum())
    ends = np.cumsum(counts)
    rows, values, sizes = np.empty(total, np.int32), np.empty(total, np.uint64), np.empty(total, np.int32)
    if total:
        find_fields(*span, ends - counts, odd, (rows, values, sizes))
    cuts = [slice(int(end - count), int(end)) for end, count in zip(ends, counts, strict=True)]
    return [_Found(rows[cut], values[cut], sizes[cut]) for cut in cuts]


@cache
def _plan(of: Descriptor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The place of each field by its number, and their wire types."""
    # The protobuf library keeps an entry of a map that has other fields as bytes, beside the map.
    other = UNEXPECTED if of.GetOptions().map_entry else SKIPPED
    places = np.full(max(field.number for field in of.fields) + 1, other, np.int64)
    for place, field in enumerate(of.fields):
        places[field.number] = place
    return places, np.array([_wire(field) for field in of.fields], np.int64)


def _wire(field: FieldDescriptor) -> int:
    if field.type in _OF_BYTES:
        return BYTES
    if field.is_repeated or (field.type not in _WIRES and field.type not in _SIMPLE):
        raise TypeError(f"{field.full_name}: packed numbers and their rarer encodings are not read here")
    return _WIRES.get(field.type, VARINT)


def _column(field: FieldDescriptor, found: _Found, messages: _Pieces) -> pa.Array:
    if is_map(field):
        return _map(field, found, messages)
    if field.is_repeated:
        return pa.ListArray.from_arrays(_offsets(found, len(messages)), _many(field, found, messages.data))
    if field.message_type is not None:
        return _one_message(field, found, messages)
    if field.type in _OF_BYTES:
        if field.type == FieldDescriptor.TYPE_STRING:
            # Of text that is sent twice the last one counts, but all of it must be UTF-8.
            _refuse_twice(found)
        starts, sizes = np.zeros(len(messages), np.int64), np.zeros(len(messages), np.int64)
        starts[found.rows], sizes[found.rows] = found.values.view(np.int64), found.sizes
        return _text(field, _Pieces(messages.data, starts, starts + sizes))
    values = np.zeros(len(messages), np.uint64)
    values[found.rows] = found.values
    return _numbers(field, values)


def _many(field: FieldDescriptor, found: _Found, data: NDArray[np.uint8]) -> pa.Array:
    """The values of a repeated field, of all messages together."""
    pieces = found.pieces(data)
    try:
        return _struct(message_of(field), pieces, None) if field.message_type is not None else _text(field, pieces)
    except OddMessages as odd:
        raise OddMessages(found.rows[odd.rows]) from odd


def _one_message(field: FieldDescriptor, found: _Found, messages: _Pieces) -> pa.Array:
    _refuse_twice(found)
    starts, ends = np.zeros(len(messages), np.int64), np.zeros(len(messages), np.int64)
    inner = found.pieces(messages.data)
    starts[found.rows], ends[found.rows] = inner.starts, inner.ends
    absent = np.ones(len(messages), np.bool_)
    absent[found.rows] = False
    return _struct(message_of(field), _Pieces(messages.data, starts, ends), pa.array(absent))


def _refuse_twice(found: _Found) -> None:
    twice = found.rows[1:] == found.rows[:-1]
    if twice.any():
        raise OddMessages(found.rows[1:][twice])


def _struct(of: Descriptor, messages: _Pieces, absent: pa.Array | None) -> pa.StructArray:
    names = [field.name for field in of.fields]
    columns = _columns(of, messages)
    fields = [pa.field(name, column.type) for name, column in zip(names, columns, strict=True)]
    return pa.StructArray.from_arrays(columns, fields=fields, mask=absent)


def _map(field: FieldDescriptor, found: _Found, messages: _Pieces) -> pa.MapArray:
    """Entries in the order of their keys; of a key that occurs twice the last one counts."""
    entries = _many(field, found, messages.data)
    if not len(entries):
        return pa.MapArray.from_arrays(_offsets(found, len(messages)), *entries.flatten())
    keys, items = entries.flatten()
    table = pa.table({"row": found.rows, "key": keys, "place": np.arange(len(keys))})
    order = table.sort_by([("row", "ascending"), ("key", "ascending"), ("place", "ascending")])
    rows, names, places = (order[name].combine_chunks() for name in ("row", "key", "place"))
    number = np.asarray(rows)
    last = np.ones(len(number), np.bool_)
    same = pc.equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False)
    last[:-1] = ~((number[1:] == number[:-1]) & same)
    kept = places.filter(pa.array(last))
    chosen = _Found(number[last], found.values, found.sizes)
    return pa.MapArray.from_arrays(_offsets(chosen, len(messages)), keys.take(kept), items.take(kept))


def _offsets(found: _Found, messages: int) -> pa.Array:
    """Where the values of each message begin among all of them."""
    counts = np.bincount(found.rows, minlength=messages)
    return pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32))


def _text(field: FieldDescriptor, pieces: _Pieces) -> pa.Array:
    sizes = pieces.ends - pieces.starts
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    out = np.empty(int(offsets[-1]), np.uint8)
    gather(pieces.data, pieces.starts, offsets, out)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(out)]
    column = pa.Array.from_buffers(one_type(field), len(pieces), buffers)
    if field.type == FieldDescriptor.TYPE_STRING:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise OddMessages(_not_text(column)) from error
    return column


def _not_text(column: pa.Array) -> NDArray[np.int64]:
    return np.array([n for n, value in enumerate(column.cast(pa.binary()).to_pylist()) if not _is_text(value)])


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _numbers(field: FieldDescriptor, values: NDArray[np.uint64]) -> pa.Array:
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return pa.array(values != 0)
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return pa.array(values.astype(np.uint32).view(np.float32))
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return pa.array(values.view(np.float64))
    # A negative number of 32 bits has ten bytes on the wire, of which the last 32 bits count.
    numbers: Any = values.astype(_NUMBERS[field.cpp_type])
    return pa.array(_names(field, numbers), pa.string()) if field.enum_type is not None else pa.array(numbers)


def _names(field: FieldDescriptor, numbers: NDArray[np.int32]) -> list[str]:
    names = enum_names(field)
    kinds, places = np.unique(numbers, return_inverse=True)
    named = np.array([names.get(int(kind), str(kind)) for kind in kinds], object)
    return list(named[places])
