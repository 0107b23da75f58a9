"""Checks embeddings, with one set of rules for producers, Parquet files and the worker. Pure.

The worker accepts whatever passes here, byte for byte, so `neardup ingest` refuses what would become a dead letter
before publishing it. Every failure is a `BadMessage` whose reason is one of `REASONS` (codec.py).

An id is any Unicode text of 1 to 512 bytes of UTF-8, as people name files. Emoji sequences, joiners in Persian and
Indic words, narrow spaces and private characters are allowed. Control characters, line and paragraph separators, lone
surrogates, `.` and `..` are not. Ids are compared byte by byte and never normalised: the NFC and NFD forms of a name
are two ids, as they are two file names on Linux. Characters that change the direction of text are allowed, and are
shown escaped (`cli/output.py`).

Vectors are stored as float16, so every check uses the float16 values.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadMessage
from neardup_platform.records import Embedding, FloatVector, Kind, ModelSpec, PdqHash

MAX_ID_BYTES = 512
MAX_URI_BYTES = 2_048
PDQ_BYTES, MAX_PDQ_QUALITY = 32, 100
# The largest finite float16 is 65,504.
MAX_COMPONENT = 6e4
# Of an `lsh` vector. Only its direction matters; below this length float16 keeps too few bits of it.
MIN_LENGTH = 0.01
# Largest share of a vector's length lost in float16. Normal values lose at most 2⁻¹¹.
_MAX_LOSS = 2**-7
# What may be wrong with a vector of the right dimension: reasons of `BadMessage`; the first is nothing.
VECTOR_FAULTS = ("", "not-finite", "zero-vector", "bad-length")
# Two embeddings are equal if they differ by less than this share of their length: each may have been rounded to float16
# once, and a network gives slightly different values in another batch.
_SAME_WITHIN = 2**-9
# 2000-01-01. A clock in seconds says 1970.
EARLIEST_MS = 946_684_800_000
DAY_MS = 86_400_000

_REFUSED_CATEGORIES = {"Cc": "a control character", "Zl": "a line separator", "Zp": "a paragraph separator"}
_SHOWN = 40


def checked_embedding(
    embedding: Embedding, expected: ModelSpec, now_ms: int, newer: Sequence[str] = (), *, vector_is_good: bool = False
) -> Embedding:
    """Return the embedding unchanged, if the worker accepts it.

    Args:
        embedding: to be published, or just decoded.
        expected: the model that the active classifier was trained on.
        now_ms: the clock, Unix milliseconds.
        newer: other model versions whose vectors are comparable with those of `expected`.
        vector_is_good: whether `vector_faults` has found nothing wrong with its vector.

    Raises:
        BadMessage: the worker refuses it.
    """
    checked_id(embedding.image_id)
    check_version(embedding.kind, embedding.model_version, expected, newer)
    check_uri(embedding.source_uri)
    check_time(embedding.event_time_ms, now_ms)
    if not vector_is_good:
        check_vector(embedding.vector, embedding.kind, expected.dim)
    check_pdq(embedding.pdq)
    return embedding


def checked_id(image_id: object) -> str:
    """Return an image id unchanged, if it is valid.

    Raises:
        BadMessage: `bad-id`; the text names the value and the rule.
    """
    if not isinstance(image_id, str):
        raise BadMessage("bad-id", f"{_shown(image_id)}: a text of 1 to {MAX_ID_BYTES} bytes is expected")
    try:
        size = len(image_id.encode())
    except UnicodeEncodeError as error:
        shown = _shown(image_id)
        raise BadMessage("bad-id", f"{shown} is not valid UTF-8 at character {error.start}: rename it") from error
    if not 0 < size <= MAX_ID_BYTES:
        raise BadMessage("bad-id", f"{_shown(image_id)}: {size} bytes, 1 to {MAX_ID_BYTES} allowed")
    if image_id in (".", ".."):
        shown = _shown(image_id)
        raise BadMessage("bad-id", f"{shown} names a folder in every URL and file system: use another id")
    if not image_id.isprintable():
        for at, character in enumerate(image_id):
            what = _REFUSED_CATEGORIES.get(unicodedata.category(character))
            if what is not None:
                shown = _shown(image_id)
                raise BadMessage("bad-id", f"{shown} has {what}, U+{ord(character):04X}, at character {at}")
    return image_id


def check_version(kind: Kind, version: str, expected: ModelSpec, newer: Sequence[str] = ()) -> None:
    """Refuse embeddings of any model that the active classifier was not trained on.

    Raises:
        BadMessage: `other-version`.
    """
    if version != expected.version and version not in newer:
        accepted = ", ".join(repr(each) for each in (expected.version, *newer))
        raise BadMessage("other-version", f"{kind} version {version[:80]!r}, the active classifier takes {accepted}")


def check_uri(source_uri: object) -> None:
    """Refuse a source uri that is too long or not text.

    Raises:
        BadMessage: `bad-uri`.
    """
    try:
        size = len(source_uri.encode()) if isinstance(source_uri, str) else -1
    except UnicodeEncodeError:
        size = -1
    if not 0 <= size <= MAX_URI_BYTES:
        found = f"{size} bytes" if size > 0 else f"{_shown(source_uri)} is not valid UTF-8 text"
        raise BadMessage("bad-uri", f"{found}, at most {MAX_URI_BYTES} bytes allowed")


def check_pdq(pdq: PdqHash | None) -> None:
    """Refuse a PDQ hash of another length or with an impossible quality.

    Raises:
        BadMessage: `bad-pdq`.
    """
    if pdq is None:
        return
    if len(pdq.bits) != PDQ_BYTES:
        raise BadMessage("bad-pdq", f"the PDQ hash has {len(pdq.bits)} bytes, {PDQ_BYTES} are expected")
    if not 0 <= pdq.quality <= MAX_PDQ_QUALITY:
        raise BadMessage("bad-pdq", f"pdq_quality is {pdq.quality}, 0 to {MAX_PDQ_QUALITY} are expected")


def check_time(event_time_ms: object, now_ms: int) -> None:
    """Refuse event times before 2000 and more than a day ahead of the clock.

    A time ahead would advance the watermark past every correct image. A time before 2000 is nearly always in seconds.
    Read as 1970, it would silently drop an image that was forgotten before.

    Raises:
        BadMessage: `bad-time`.
    """
    if not isinstance(event_time_ms, int) or isinstance(event_time_ms, bool):
        raise BadMessage("bad-time", f"event_time_ms {_shown(event_time_ms)}: Unix milliseconds are expected")
    if event_time_ms < EARLIEST_MS:
        seconds = EARLIEST_MS <= 1_000 * event_time_ms <= now_ms + DAY_MS
        hint = "it looks like seconds: multiply by 1,000" if seconds else f"at least {EARLIEST_MS} is expected"
        raise BadMessage("bad-time", f"event_time_ms {event_time_ms} is before the year 2000; {hint}")
    if event_time_ms > now_ms + DAY_MS:
        finer = EARLIEST_MS <= event_time_ms // 1_000 <= now_ms + DAY_MS
        hint = "; it looks like microseconds" if finer else ""
        raise BadMessage("bad-time", f"event_time_ms {event_time_ms} is over a day ahead of the clock, {now_ms}{hint}")


def check_vector(vector: NDArray[np.floating], kind: Kind, dim: int) -> None:
    """Refuse a vector that cannot be compared once it is stored as float16.

    Raises:
        BadMessage: `bad-dimension`, `not-finite`, `zero-vector` or `bad-length`.
    """
    if vector.shape != (dim,):
        found = "x".join(map(str, vector.shape))
        raise BadMessage("bad-dimension", f"{kind} vector of {found} values, {dim} expected")
    sizes = np.abs(vector)
    if not sizes.max() <= MAX_COMPONENT:
        worst = int(np.argmax(~(sizes <= MAX_COMPONENT)))
        raise BadMessage("not-finite", f"component {worst} of the {kind} vector is {vector[worst]}, ±60,000 allowed")
    given, stored = vector.astype(np.float32), stored_precision(vector)
    length, kept = float(np.linalg.norm(given)), float(np.linalg.norm(stored))
    if kind is Kind.LSH and kept == 0:
        why = "" if length == 0 else f" in float16, as its length is {length:.3g}: scale it to length 1"
        raise BadMessage("zero-vector", f"the lsh vector has no direction: all {dim} components are 0{why}")
    if float(np.linalg.norm(given - stored)) > _MAX_LOSS * length or (kind is Kind.LSH and kept < MIN_LENGTH):
        least = f"at least {MIN_LENGTH:g} is needed" if kind is Kind.LSH else "float16 keeps too little of it"
        raise BadMessage("bad-length", f"the {kind} vector has length {length:.3g}, {least}: scale it to length 1")


def vector_faults(vectors: NDArray[np.floating], kind: Kind, lengths: FloatVector | None = None) -> NDArray[np.uint8]:
    """Say of many vectors what `check_vector` says of one, which it does faster one by one.

    Args:
        vectors: floating [n, dim], of the right dimension.
        lengths: float32 [n], their lengths where they are known; of a vector that is not finite, more than 65,000.

    Returns:
        uint8 [n]: positions in `VECTOR_FAULTS`; 0 where the vector is good.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        length = _lengths(vectors.astype(np.float32, copy=False)) if lengths is None else lengths
    # A vector that is short enough has no component that is too large; NaN is neither.
    finite = length <= MAX_COMPONENT
    finite[~finite] = np.abs(vectors[~finite]).max(axis=1, initial=0) <= MAX_COMPONENT
    faults = np.where(finite, 0, VECTOR_FAULTS.index("not-finite")).astype(np.uint8)
    kept, bad = length, np.zeros(len(vectors), np.bool_)
    if vectors.dtype != np.float16:
        with np.errstate(over="ignore", invalid="ignore"):
            given = vectors.astype(np.float32, copy=False)
            stored = stored_precision(given)
            kept, bad = _lengths(stored), _lengths(given - stored) > _MAX_LOSS * length
    if kind is Kind.LSH:
        bad |= kept < MIN_LENGTH
    faults[finite & bad] = VECTOR_FAULTS.index("bad-length")
    if kind is Kind.LSH:
        faults[finite & (kept == 0)] = VECTOR_FAULTS.index("zero-vector")
    return faults


def _lengths(vectors: FloatVector) -> FloatVector:
    lengths: FloatVector = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return lengths


def stored_precision(vector: NDArray[np.floating]) -> FloatVector:
    """Return a vector as it is after it was stored as float16."""
    stored: FloatVector = vector.astype(np.float16).astype(np.float32)
    return stored


def same_vector(a: NDArray[np.floating], b: NDArray[np.floating]) -> bool:
    """Return whether two vectors differ by no more than rounding, like those of one picture embedded twice."""
    if a.shape != b.shape:
        return False
    x, y = stored_precision(a), stored_precision(b)
    return float(np.linalg.norm(x - y)) <= _SAME_WITHIN * float(max(np.linalg.norm(x), np.linalg.norm(y)))


def _shown(value: object) -> str:
    return repr(value[:_SHOWN] if isinstance(value, str | bytes) else value)[:200]
