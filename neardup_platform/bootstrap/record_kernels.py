"""Keys and values of the store's tables as bytes, for millions of images at once, compiled.

What is written here for images with given heads is what `stream/commit.py` writes of the same decisions, byte for byte:
the tests compare both. Fields of a message are in order of their numbers, and those with a default value are left out,
as protobuf writes them.

Each kernel writes an entry for each row, a key followed by its value, until it is done or its buffer is full, and
returns how many it has written. `ends` receives where each key and each value ends, alternately.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from neardup_platform.bootstrap.blake2b_kernels import SIZE, blake2b
from neardup_platform.store.layout import RECENT_BLOCK, Table

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]

_IMAGES, _MEMBERS, _HISTORY = Table.IMAGES.value[0], Table.MEMBERS.value[0], Table.HISTORY.value[0]
_CLUSTERS, _RECENT, _VECTORS = Table.CLUSTERS.value[0], Table.RECENT.value[0], Table.VECTORS.value[0]
# Bytes of a field's number and length, and of a number.
_FIELD = 12
# Longest id, and the longest number and separator before it.
_MESSAGE = 2 * 512 + 2 * 128
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_NUMBER, _TEXT, _FLOAT = 0, 2, 5


class Texts(NamedTuple):
    """Texts one after another.

    Attributes:
        data: uint8.
        starts: int64 [n + 1], where each begins, and the end of the last.
    """

    data: Bytes
    starts: Numbers


class Images(NamedTuple):
    """What the tables say of n images; row i has ordinal `first_ordinal` + i and sequence `first_sequence` + i.

    Attributes:
        ids: their ids.
        heads: int64 [n], the row of the head of each; a head comes before its members.
        retired: bool [n].
        event_time_ms: int64 [n].
        uris: empty where there is none.
        pdq: hashes of 32 bytes, empty where there is none.
        pdq_quality: uint8 [n].
    """

    ids: Texts
    heads: Numbers
    retired: NDArray[np.bool_]
    event_time_ms: Numbers
    uris: Texts
    pdq: Texts
    pdq_quality: NDArray[np.uint8]
    first_ordinal: int
    first_sequence: int
    decided_ms: int


class Clusters(NamedTuple):
    """Members by cluster.

    Attributes:
        heads: int64 [c], rows of the heads, in the order of the entries.
        members: int64 [n], rows of images, those of one cluster together and ascending.
        starts: int64 [c], where the members of each cluster begin in `members`.
        sizes: int64 [c].
    """

    heads: Numbers
    members: Numbers
    starts: Numbers
    sizes: Numbers


def texts_of(array: pa.Array) -> Texts:
    """The values of an array of texts or binaries, not copied where it is large; null is empty."""
    array = array.cast(pa.large_binary())
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int64, len(array) + 1, 8 * array.offset)
    return Texts(np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), starts)


def text_bytes(text: str) -> Bytes:
    """One text."""
    return np.frombuffer(text.encode(), np.uint8)


@njit(nogil=True, cache=True)
def _varint(out: Bytes, at: int, number: np.uint64) -> int:
    while number >= np.uint64(128):
        out[at] = np.uint8(number & np.uint64(127)) | np.uint8(128)
        number >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(number)
    return at + 1


@njit(nogil=True, cache=True)
def _copy(out: Bytes, at: int, data: Bytes, start: int, end: int) -> int:
    for k in range(end - start):
        out[at + k] = data[start + k]
    return at + end - start


@njit(nogil=True, cache=True)
def _number(out: Bytes, at: int, field: int, number: int) -> int:
    if number == 0:
        return at
    return _varint(out, _varint(out, at, np.uint64(field << 3 | _NUMBER)), np.uint64(number))


@njit(nogil=True, cache=True)
def _text(out: Bytes, at: int, field: int, data: Bytes, start: int, end: int) -> int:
    if start == end:
        return at
    return _element(out, at, field, data, start, end)


@njit(nogil=True, cache=True)
def _element(out: Bytes, at: int, field: int, data: Bytes, start: int, end: int) -> int:
    at = _varint(out, at, np.uint64(field << 3 | _TEXT))
    return _copy(out, _varint(out, at, np.uint64(end - start)), data, start, end)


@njit(nogil=True, cache=True)
def _id(out: Bytes, at: int, field: int, ids: Texts, row: int) -> int:
    return _text(out, at, field, ids.data, ids.starts[row], ids.starts[row + 1])


@njit(nogil=True, cache=True)
def _size(texts: Texts, row: int) -> int:
    return texts.starts[row + 1] - texts.starts[row]


@njit(nogil=True, cache=True)
def _u64_key(out: Bytes, at: int, number: np.uint64) -> int:
    for k in range(8):
        out[at + k] = np.uint8((number >> np.uint64(56 - 8 * k)) & np.uint64(255))
    return at + 8


@njit(nogil=True, cache=True)
def _plain_id(out: Bytes, at: int, ids: Texts, row: int) -> int:
    return _copy(out, at, ids.data, ids.starts[row], ids.starts[row + 1])


@njit(nogil=True, cache=True)
def _sequence_key(out: Bytes, at: int, table: int, ids: Texts, row: int, sequence: int) -> int:
    size = _size(ids, row)
    out[at], out[at + 1], out[at + 2] = table, size >> 8, size & 255
    return _u64_key(out, _plain_id(out, at + 3, ids, row), np.uint64(sequence))


@njit(nogil=True, cache=True)
def put_images(images: Images, order: Numbers, out: Bytes, ends: Numbers) -> int:
    """Table IMAGES, in the order of rows given."""
    at = entry = 0
    for row in order:
        head = images.heads[row]
        most = 2 * _size(images.ids, row) + _size(images.ids, head) + _size(images.uris, row) + 32 + 10 * _FIELD
        if at + most > len(out) or entry == len(ends):
            break
        out[at] = _IMAGES
        at = _plain_id(out, at + 1, images.ids, row)
        ends[entry] = at
        at = _number(out, at, 1, images.first_ordinal + row)
        at = _id(out, at, 2, images.ids, head)
        at = _number(out, at, 3, images.first_sequence + row)
        at = _number(out, at, 5, images.event_time_ms[row])
        at = _number(out, at, 6, images.decided_ms)
        at = _id(out, at, 7, images.uris, row)
        at = _id(out, at, 160, images.pdq, row)
        at = _number(out, at, 161, images.pdq_quality[row])
        ends[entry + 1] = at
        entry += 2
    return entry // 2


@njit(nogil=True, cache=True)
def put_members(images: Images, order: Numbers, out: Bytes, ends: Numbers) -> int:
    """Table MEMBERS, in the order of rows given."""
    at = entry = 0
    for row in order:
        head = images.heads[row]
        if at + _size(images.ids, row) + _size(images.ids, head) + _FIELD > len(out) or entry == len(ends):
            break
        at = _sequence_key(out, at, _MEMBERS, images.ids, head, images.first_sequence + row)
        ends[entry] = at
        at = _plain_id(out, at, images.ids, row)
        ends[entry + 1] = at
        entry += 2
    return entry // 2


@njit(nogil=True, cache=True)
def _event_id(out: Bytes, at: int, sequence: int, ids: Texts, row: int, scratch: tuple[Bytes, ...]) -> int:
    """The hexadecimal event id of a decision, as a field."""
    message, words, v, state = scratch
    digits, rest = 0, sequence
    while rest > 0:
        rest //= 10
        digits += 1
    for k in range(digits):
        message[digits - 1 - k] = 48 + sequence % 10
        sequence //= 10
    message[digits] = 47
    length = _plain_id(message, digits + 1, ids, row)
    blake2b(message, length, words, v, state)
    at = _varint(out, at, np.uint64(1 << 3 | _TEXT))
    at = _varint(out, at, np.uint64(2 * SIZE))
    for k in range(SIZE):
        byte = (state[k >> 3] >> np.uint64(8 * (k & 7))) & np.uint64(255)
        out[at + 2 * k], out[at + 2 * k + 1] = _HEX[byte >> np.uint64(4)], _HEX[byte & np.uint64(15)]
    return at + 2 * SIZE


@njit(nogil=True, cache=True)
def _scratch() -> tuple[Bytes, NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    return np.empty(_MESSAGE, np.uint8), np.empty(16, np.uint64), np.empty(16, np.uint64), np.empty(8, np.uint64)


@njit(nogil=True, cache=True)
def put_history(
    images: Images,
    constants: tuple[Bytes, Bytes, Bytes],
    founder: Bytes,
    order: Numbers,
    out: Bytes,
    ends: Numbers,
) -> int:
    """Table HISTORY, in the order of rows given.

    Args:
        constants: version of the term space, cause and command id of each decision.
        founder: uint8 [4], the head score of a founder, float32.
    """
    terms, cause, command = constants
    scratch = _scratch()
    at = entry = 0
    for row in order:
        head = images.heads[row]
        most = 2 * _size(images.ids, row) + _size(images.ids, head) + 2 * SIZE + 14 * _FIELD
        most += len(terms) + len(cause) + len(command)
        if at + most > len(out) or entry == len(ends):
            break
        sequence = images.first_sequence + row
        at = _sequence_key(out, at, _HISTORY, images.ids, row, sequence)
        ends[entry] = at
        at = _event_id(out, at, sequence, images.ids, row, scratch)
        at = _number(out, at, 2, sequence)
        at = _id(out, at, 3, images.ids, row)
        at = _id(out, at, 4, images.ids, head)
        if head == row:
            out[at] = 6 << 3 | _FLOAT
            at = _copy(out, at + 1, founder, 0, 4)
        at = _text(out, at, 12, terms, 0, len(terms))
        at = _number(out, at, 14, images.event_time_ms[row])
        at = _number(out, at, 15, images.decided_ms)
        at = _text(out, at, 16, cause, 0, len(cause))
        at = _text(out, at, 17, command, 0, len(command))
        at = _number(out, at, 44, images.first_ordinal + row)
        ends[entry + 1] = at
        entry += 2
    return entry // 2


@njit(nogil=True, cache=True)
def put_clusters(images: Images, clusters: Clusters, first: int, out: Bytes, ends: Numbers) -> int:
    """Table CLUSTERS, from a cluster on."""
    at = entry = 0
    for cluster in range(first, len(clusters.heads)):
        head, start, size = clusters.heads[cluster], clusters.starts[cluster], clusters.sizes[cluster]
        most = _size(images.ids, head) + 6 * _FIELD
        for member in clusters.members[start : start + size]:
            if not images.retired[member]:
                most += _size(images.ids, member) + _FIELD
        if at + most > len(out) or entry == len(ends):
            break
        out[at] = _CLUSTERS
        at = _plain_id(out, at + 1, images.ids, head)
        ends[entry] = at
        at = _number(out, at, 1, size)
        at = _number(out, at, 2, images.decided_ms)
        at = _number(out, at, 3, images.decided_ms)
        at = _number(out, at, 4, images.first_sequence + clusters.members[start + size - 1])
        for member in clusters.members[start : start + size]:
            if not images.retired[member]:
                at = _id(out, at, 5, images.ids, member)
        ends[entry + 1] = at
        entry += 2
    return entry // 2


@njit(nogil=True, cache=True)
def put_recent(images: Images, clusters: Clusters, first: int, out: Bytes, ends: Numbers) -> int:
    """Table RECENT, from a cluster on; the clusters have two members or more."""
    at = entry = 0
    for cluster in range(first, len(clusters.heads)):
        head, start, size = clusters.heads[cluster], clusters.starts[cluster], clusters.sizes[cluster]
        if at + _size(images.ids, head) + 2 * _FIELD > len(out) or entry == len(ends):
            break
        sequence = images.first_sequence + clusters.members[start + size - 1]
        out[at] = _RECENT
        at = _u64_key(out, at + 1, ~np.uint64(0) - np.uint64(sequence // RECENT_BLOCK))
        at = _plain_id(out, at, images.ids, head)
        ends[entry] = at
        at = _u64_key(out, at, np.uint64(sequence))
        ends[entry + 1] = at
        entry += 2
    return entry // 2


@njit(nogil=True, cache=True)
def put_vectors(
    images: Images, versions: tuple[Bytes, Bytes], lsh: Bytes, pair: Bytes, first: int, out: Bytes, ends: Numbers
) -> int:
    """Table VECTORS, from a row on.

    Args:
        versions: of the models of both embeddings.
        lsh, pair: uint8 [rows, 2 · dim], the float16 vectors of the rows from `first` on.
    """
    at = entry = 0
    for k in range(len(lsh)):
        row = first + k
        most = _size(images.ids, row) + len(versions[0]) + len(versions[1]) + lsh.shape[1] + pair.shape[1] + 7 * _FIELD
        if at + most > len(out) or entry == len(ends):
            break
        out[at] = _VECTORS
        at = _u64_key(out, at + 1, np.uint64(images.first_ordinal + row))
        ends[entry] = at
        at = _id(out, at, 1, images.ids, row)
        at = _text(out, at, 2, versions[0], 0, len(versions[0]))
        at = _text(out, at, 3, versions[1], 0, len(versions[1]))
        at = _element(out, at, 4, lsh[k], 0, lsh.shape[1])
        at = _element(out, at, 5, pair[k], 0, pair.shape[1])
        at = _number(out, at, 7, images.retired[row])
        ends[entry + 1] = at
        entry += 2
    return entry // 2


@njit(nogil=True, cache=True)
def sum_assignments(ids: Texts, heads: Numbers, first: int, end: int) -> NDArray[np.uint64]:
    """The sum of `layout.assignment_digest` of rows, as four limbs of 32 bits that may exceed these, lowest first."""
    message, words, v, state = _scratch()
    limbs = np.zeros(4, np.uint64)
    for row in range(first, end):
        length = _plain_id(message, 0, ids, row)
        message[length] = 0
        length = _plain_id(message, length + 1, ids, heads[row])
        blake2b(message, length, words, v, state)
        for k in range(2):
            limbs[2 * k] += state[k] & np.uint64(0xFFFFFFFF)
            limbs[2 * k + 1] += state[k] >> np.uint64(32)
    return limbs


@njit(nogil=True, cache=True)
def hash_keys(ids: Texts, out: Bytes) -> None:
    """`layout.hash_key` of each id, uint8 [n, 16]."""
    message, words, v, state = _scratch()
    for row in range(len(out)):
        length = _plain_id(message, 0, ids, row)
        blake2b(message, length, words, v, state)
        for k in range(SIZE):
            out[row, k] = np.uint8((state[k >> 3] >> np.uint64(8 * (k & 7))) & np.uint64(255))


@njit(nogil=True, cache=True)
def unhex(texts: Texts, starts: Numbers, out: Bytes) -> None:
    """The bytes of texts of hexadecimal digits, which may have space between them.

    Args:
        starts: int64 [n + 1], where the bytes of each text begin in `out`, and the end of the last.
    """
    for row in range(len(starts) - 1):
        at, high = starts[row], -1
        for byte in texts.data[texts.starts[row] : texts.starts[row + 1]]:
            digit = byte - 48 if byte <= 57 else (byte | 32) - 87
            if byte < 48 or digit > 15 or at == starts[row + 1]:
                continue
            if high < 0:
                high = digit
            else:
                out[at] = high << 4 | digit
                at, high = at + 1, -1
