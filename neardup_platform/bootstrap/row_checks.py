"""Checks of single rows of a data set, all rows of a batch at once, by the rules of `wire/validation.py`. Pure.

The rules are written once, for one value, in `wire/validation.py` and `ingest/parquet_columns.py`. Here they are
expressions over columns that give the same answer, which the tests compare; the detail of a bad row is what the rule
for one value says of it.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neardup_platform.errors import BadMessage
from neardup_platform.ingest.parquet_columns import integers, pdq, plain, text
from neardup_platform.records import Kind, ModelSpec
from neardup_platform.wire.validation import (
    DAY_MS,
    EARLIEST_MS,
    MAX_ID_BYTES,
    MAX_PDQ_QUALITY,
    MAX_URI_BYTES,
    check_pdq,
    check_time,
    check_uri,
    check_version,
    checked_id,
)

Codes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Models = Mapping[Kind, ModelSpec]

# A reason is stored as its position.
REASONS = {
    "": "the row is good",
    "bad-id": "the image id is null, empty, too long, `.`, `..`, or has control characters",
    "other-version": "the embedding was made by another model than the classifier was trained on",
    "bad-uri": "the source uri is too long, or not UTF-8",
    "bad-time": "the event time is null, before the year 2000 (seconds?), or more than a day ahead of the clock",
    "bad-pdq": "the PDQ hash does not have 64 hexadecimal digits, or its quality is not one of 0 to 100",
    "no-embedding": "both embeddings are null",
    "bad-dimension": "the vector does not have the dimension of its model",
    "not-finite": "the vector has NaN, infinity, or a value beyond ±60,000",
    "zero-vector": "the `lsh` vector has no direction once it is stored as float16",
    "bad-length": "the vector is too short: float16, which it is stored as, keeps too little of it",
    "duplicate": "another row has the same image id and another head, event time or embedding",
    "conflicting-head": "the two rows of an image, one for each embedding, name different heads",
    "unpaired-head": "the row names a head and has one embedding, and no row has the other",
    "dangling-head": "the head is neither an image that the platform knows nor a good row that names itself",
    "head-chain": "the head is a row that names another head",
}
CODES = {reason: np.uint8(code) for code, reason in enumerate(REASONS)}
REASON_NAMES = tuple(REASONS)

# UTF-8 without control characters (Cc), line separators (Zl) and paragraph separators (Zp), byte by byte.
_TAIL = r"[\x80-\xbf]"
_TEXT = "|".join(
    [
        r"[\x20-\x7e]",
        r"\xc2[\xa0-\xbf]",
        rf"[\xc3-\xdf]{_TAIL}",
        rf"\xe0[\xa0-\xbf]{_TAIL}",
        rf"[\xe1\xe3-\xec\xee\xef]{_TAIL}{_TAIL}",
        r"\xe2\x80[\x80-\xa7\xaa-\xbf]",
        rf"\xe2[\x81-\xbf]{_TAIL}",
        rf"\xed[\x80-\x9f]{_TAIL}",
        rf"\xf0[\x90-\xbf]{_TAIL}{_TAIL}",
        rf"[\xf1-\xf3]{_TAIL}{_TAIL}{_TAIL}",
        rf"\xf4[\x80-\x8f]{_TAIL}{_TAIL}",
    ]
)
_ID = rf"^(?:{_TEXT})+$"
_UTF8 = rf"^(?:{_TEXT}|[\x00-\x1f\x7f]|\xc2{_TAIL}|\xe2\x80[\xa8\xa9])*$"
_HEX = r"^\s*(?:[0-9a-fA-F]{2}\s*){32}$"


def id_is_good(ids: pa.Array) -> Mask:
    """Whether `checked_id` accepts each value of a `large_binary` array; null is not accepted."""
    short = pc.less_equal(pc.binary_length(ids), MAX_ID_BYTES)
    folder = pc.is_in(ids, value_set=pa.array([b".", b".."], ids.type))
    return _mask(pc.and_(pc.and_(short, pc.match_substring_regex(ids, _ID)), pc.invert(folder)))


def row_reasons(batch: pa.RecordBatch, present: Mapping[Kind, Mask], models: Models, now_ms: int) -> Codes:
    """The reason code of each row, without its vectors and without the other rows; 0 where it is good.

    Args:
        batch: the narrow columns of `parquet_rows.py`.
        present: whether a row has the embedding of a kind.
        models: what embeddings must be of.
        now_ms: the clock, Unix milliseconds.
    """
    reasons = np.zeros(len(batch), np.uint8)

    def refuse(reason: str, bad: Mask) -> None:
        reasons[bad & (reasons == 0)] = CODES[reason]

    refuse("bad-id", ~id_is_good(binary(batch, "image_id")))
    refuse("no-embedding", ~np.logical_or(*present.values()))
    for kind, there in present.items():
        versions = binary(batch, f"{kind}_version")
        refuse("other-version", there & ~_mask(pc.equal(versions, models[kind].version.encode())))
    uris = binary(batch, "source_uri")
    good_uri = pc.and_(
        pc.less_equal(pc.binary_length(uris), MAX_URI_BYTES),
        pc.match_substring_regex(uris, _UTF8),
    )
    refuse("bad-uri", ~(_mask(good_uri) | _mask(pc.is_null(uris))))
    times = integers(batch, "event_time_ms")
    refuse("bad-time", ~_mask(pc.and_(pc.greater_equal(times, EARLIEST_MS), pc.less_equal(times, now_ms + DAY_MS))))
    hashes, qualities = binary(batch, "pdq"), integers(batch, "pdq_quality")
    no_hash = _mask(pc.and_(pc.is_null(hashes), pc.is_null(qualities)))
    good_quality = pc.and_(pc.greater_equal(qualities, 0), pc.less_equal(qualities, MAX_PDQ_QUALITY))
    refuse("bad-pdq", ~(no_hash | _mask(pc.and_(pc.match_substring_regex(hashes, _HEX), good_quality))))
    head = binary(batch, "head")
    refuse("dangling-head", ~(_mask(pc.is_null(head)) | id_is_good(head)))
    return reasons


def row_detail(batch: pa.RecordBatch, row: int, reason: str, models: Models, now_ms: int) -> str:
    """What is wrong with one row of a batch that `row_reasons` refuses, as the rule for one value says it."""

    def string(name: str) -> str | None:
        return text(binary(batch, name)[row].as_py(), reason)

    def integer(name: str) -> int | None:
        value: int | None = integers(batch, name)[row].as_py()
        return value

    def versions() -> None:
        for kind in Kind:
            check_version(kind, string(f"{kind}_version") or "", models[kind])

    rules: dict[str, Callable[[], object]] = {
        "bad-id": lambda: checked_id(string("image_id")),
        "other-version": versions,
        "bad-uri": lambda: check_uri(string("source_uri")),
        "bad-time": lambda: check_time(integer("event_time_ms"), now_ms),
        "bad-pdq": lambda: check_pdq(pdq(binary(batch, "pdq")[row].as_py(), integer("pdq_quality"))),
        "dangling-head": lambda: checked_id(string("head")),
    }
    try:
        rules.get(reason, lambda: None)()
    except BadMessage as error:
        return error.detail
    return REASONS[reason]


def binary(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A string column as `large_binary`; nulls where the batch lacks it."""
    if name not in batch.schema.names:
        return pa.nulls(len(batch), pa.large_binary())
    return plain(batch.column(name)).cast(pa.large_binary())


def _mask(values: pa.Array) -> Mask:
    """Booleans, where null is false."""
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask
