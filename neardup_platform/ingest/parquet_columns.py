"""Columns of a Parquet file as values that can be validated: the type of each column, and each value."""

from collections.abc import Sequence
from itertools import repeat

import numpy as np
import pyarrow as pa

from neardup_platform.errors import BadArtefact, BadMessage
from neardup_platform.records import FloatVector, Kind, PdqHash

_INTEGERS = {"event_time_ms": "an integer, Unix milliseconds", "pdq_quality": "an integer, 0 to 100"}


def check_column(schema: pa.Schema, name: str) -> None:
    """Refuse a column with an unsuitable type.

    Raises:
        BadArtefact: names the type.
    """
    if len(schema.get_all_field_indices(name)) > 1:
        raise BadArtefact(f"it has several columns {name!r}: keep one")
    found = schema.field(name).type
    kind = found.value_type if pa.types.is_dictionary(found) else found
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    if pa.types.is_null(kind):
        return
    if name in ("lsh", "pair"):
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        fits = (listed and pa.types.is_floating(kind.value_type)) or _is_binary(kind)
        expected = "a list of floats, or binary"
    elif name in _INTEGERS:
        fits, expected = pa.types.is_integer(kind), _INTEGERS[name]
    else:
        fits = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        expected = "a string"
    if not fits:
        raise BadArtefact(f"its column {name!r} has the type {str(found)[:80]}, expected {expected}")


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def plain(column: pa.Array) -> pa.Array:
    """A column without dictionary or extension type."""
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return column.storage if isinstance(column, pa.ExtensionArray) else column


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


def integers(batch: pa.RecordBatch, name: str) -> Sequence[int | None]:
    """An integer column; nulls where the file lacks it."""
    if name not in batch.schema.names:
        return list(repeat(None, len(batch)))
    values: list[int | None] = batch.column(name).to_pylist()
    return values


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
