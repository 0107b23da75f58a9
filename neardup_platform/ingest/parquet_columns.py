"""Columns of a Parquet file as values that can be validated: the type of each column, and each value."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact, BadMessage
from neardup_platform.records import FloatVector, Kind, PdqHash

_TIME = "an integer, Unix milliseconds"
_INTEGERS = {"event_time_ms": _TIME, "decided_ms": _TIME, "pdq_quality": "an integer, 0 to 100"}
# Beyond it float64 skips integers.
_EXACT = 2**53
_DECIMAL = pa.decimal128(38, 0)


def check_names(found: Sequence[str], expected: Sequence[str]) -> None:
    """Refuse a file in which an expected column has another name, which would be ignored: `Head`, `imageId`.

    Raises:
        BadArtefact: names the column.
    """
    folded = {_folded(name): name for name in expected}
    for name in found:
        meant = folded.get(_folded(name))
        if meant is not None and meant not in found:
            raise BadArtefact(f"its column {name[:80]!r} must be named {meant!r}: rename it")


def check_column(schema: pa.Schema, name: str) -> None:
    """Refuse a column with an unsuitable type.

    Raises:
        BadArtefact: names the type.
    """
    if len(schema.get_all_field_indices(name)) > 1:
        raise BadArtefact(f"it has several columns {name!r}: keep one")
    kind = plain_type(schema.field(name).type)
    if pa.types.is_null(kind):
        return
    if name in ("lsh", "pair"):
        fits = (_is_list(kind) and pa.types.is_floating(kind.value_type)) or _is_binary(kind)
        fits, expected = fits or pa.types.is_fixed_size_binary(kind), "a list of floats, or binary"
    elif name in _INTEGERS:
        time = pa.types.is_timestamp(kind) and name != "pdq_quality"
        if time and kind.tz is None:
            raise BadArtefact(
                f"its column {name!r} has the type {kind} without a time zone, so it does not say which moments are "
                "meant: write Unix milliseconds, or a timestamp in UTC"
            )
        number = pa.types.is_integer(kind) or pa.types.is_float64(kind) or _is_whole(kind)
        fits, expected = time or number, _INTEGERS[name]
    else:
        fits = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        fits, expected = fits or _is_binary(kind), "a string"
    if not fits:
        found = str(schema.field(name).type)[:80]
        raise BadArtefact(f"its column {name!r} has the type {found}, expected {expected}: convert it")


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A type without dictionary or extension."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def plain(column: pa.Array) -> pa.Array:
    """A column without dictionary or extension type; views, which few kernels take, as large lists and binaries."""
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    if _is_view(column.type):
        return column.cast(pa.large_list(column.type.value_type))
    if pa.types.is_binary_view(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.large_binary())
    return column


def integers(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column of integers as int64: timestamps as Unix milliseconds, without their fractions.

    Columns of float64, which some tools make of integers with nulls, hold integers, and NaN for null. Decimals have
    no digits behind the point, as databases write numbers. Null where the batch lacks the column, and where a value is
    out of the range of int64.

    Raises:
        BadArtefact: a float is no integer.
    """
    if name not in batch.schema.names:
        return pa.nulls(len(batch), pa.int64())
    column = plain(batch.column(name))
    if pa.types.is_uint64(column.type):
        column = pc.if_else(pc.less_equal(column, pa.scalar(2**63 - 1, pa.uint64())), column, None)
    elif pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", column.type.tz), safe=False)
    elif _is_whole(column.type):
        column = column.cast(_DECIMAL)
        column = pc.if_else(pc.less_equal(pc.abs(column), pa.scalar(Decimal(2**63 - 1), _DECIMAL)), column, None)
    elif pa.types.is_float64(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), float(_EXACT)))
        if other := column.filter(pc.invert(whole)).to_pylist():
            raise BadArtefact(f"its column {name!r} has the value {other[0]!r}, expected {_INTEGERS[name]}: convert it")
    return column.cast(pa.int64())


def _is_whole(kind: pa.DataType) -> bool:
    """Whether values are decimals without digits behind the point, as `decimal(38, 0)`."""
    return bool(pa.types.is_decimal(kind) and kind.scale == 0 and kind.precision <= _DECIMAL.precision)


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()


def _is_list(kind: pa.DataType) -> bool:
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(listed or _is_view(kind))


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def texts(batch: pa.RecordBatch, name: str, default: str | None = None) -> Sequence[bytes | None]:
    """A string column as bytes, which may not be UTF-8: the file is not trusted."""
    if name not in batch.schema.names:
        return list(repeat(default.encode() if default is not None else None, len(batch)))
    values: list[bytes | None] = plain(batch.column(name)).cast(pa.large_binary()).to_pylist()
    return values


def text(value: bytes | None, reason: str) -> str | None:
    """One value of `texts`.

    Raises:
        BadMessage: it is not UTF-8; with the given reason.
    """
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadMessage(reason, f"{value[:40]!r} is not valid UTF-8") from error


def vector(value: pa.Scalar, kind: Kind, dim: int) -> FloatVector:
    """One value of a `plain` column of vectors; a null within a list becomes NaN.

    Raises:
        BadMessage: `bad-dimension`: it is null, or bytes of another length.
    """
    if not value.is_valid:
        raise BadMessage("bad-dimension", f"the {kind} vector is null, expected {dim} values")
    values = getattr(value, "values", None)
    if values is not None:
        with np.errstate(over="ignore"):
            listed: FloatVector = values.to_numpy(zero_copy_only=False).astype(np.float32)
        return listed
    data = value.as_py()
    for dtype in (np.dtype("<f4"), np.dtype("<f2")):
        if len(data) == dim * dtype.itemsize:
            return np.frombuffer(data, dtype).astype(np.float32)
    raise BadMessage("bad-dimension", f"the {kind} vector has {len(data)} bytes, expected {dim} float32 or float16")


def rows_of_dimension(column: pa.Array, dim: int) -> list[tuple[NDArray[np.intp], NDArray[Any]]]:
    """The rows of a `plain` column of vectors that have so many values, in groups of one type.

    Returns:
        Of each group the rows, ascending, and their values, floating [rows, dim]; a null within a list is NaN.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return []
    if pa.types.is_fixed_size_list(kind):
        there = column.is_valid().to_numpy(zero_copy_only=False)
        return [_listed(column, there & (kind.list_size == dim), dim)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_listed(column, _equal(pc.list_value_length(column), dim), dim)]
    column = column.cast(pa.large_binary())
    dtypes = (np.dtype("<f4"), np.dtype("<f2"))
    return [_packed(column, _equal(pc.binary_length(column), dim * dtype.itemsize), dim, dtype) for dtype in dtypes]


def _listed(column: pa.Array, fits: NDArray[np.bool_], dim: int) -> tuple[NDArray[np.intp], NDArray[Any]]:
    numbers = _those(column, fits).flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float32) if numbers.dtype == np.float64 else numbers
    return np.flatnonzero(fits), numbers.reshape(-1, dim)


def _packed(
    column: pa.Array, fits: NDArray[np.bool_], dim: int, dtype: np.dtype[np.floating]
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    rows = np.flatnonzero(fits)
    if not len(rows):
        return rows, np.empty((0, dim), dtype)
    chosen = _those(column, fits)
    start = int(np.frombuffer(chosen.buffers()[1], np.int64)[chosen.offset])
    return rows, np.frombuffer(chosen.buffers()[2], dtype, len(rows) * dim, start).reshape(-1, dim)


def _those(column: pa.Array, fits: NDArray[np.bool_]) -> pa.Array:
    return column if fits.all() else column.filter(pa.array(fits))


def _equal(lengths: pa.Array, length: int) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = pc.fill_null(pc.equal(lengths, length), False).to_numpy(zero_copy_only=False)
    return mask


def pdq(bits: bytes | None, quality: int | None) -> PdqHash | None:
    """One PDQ hash, given as 64 hexadecimal digits, with its quality; None where neither is given.

    Raises:
        BadMessage: `bad-pdq`: they are other text, or one is given without the other.
    """
    if bits is None and quality is None:
        return None
    if quality is None:
        raise BadMessage("bad-pdq", "pdq has no pdq_quality, 0 to 100 are expected")
    try:
        return PdqHash(bytes.fromhex((bits or b"").decode("ascii")), quality)
    except ValueError as error:
        raise BadMessage("bad-pdq", f"pdq is {(bits or b'')[:80]!r}, 64 hexadecimal digits are expected") from error


def few(names: Sequence[str]) -> str:
    """Names for a message, limited in number and length."""
    shown = ", ".join(repr(name[:40]) for name in names[:12])
    return f"[{shown}{', …' if len(names) > 12 else ''}]"
