"""Opaque paging cursors, base64url. Pure.

| of | layout |
|---|---|
| members of a cluster | u64 last sequence, 4 bytes of BLAKE2b of the head |
| a list of clusters | i64 size or time, i64 sequence, 4 bytes of BLAKE2b of the selection, head of the last one |

The digest detects a cursor of another cluster or list, which would continue at an arbitrary place.
"""

import base64
import hashlib
import struct

from neardup_platform.errors import PermanentError
from neardup_platform.serving.cluster_order import Place

_LAYOUT = struct.Struct(">Q4s")
_LIST_LAYOUT = struct.Struct(">qq4s")
# The longest cursor in characters: that of a list, after a head of 512 bytes.
MAX_LIST_CURSOR = 4 * (_LIST_LAYOUT.size + 512 + 2) // 3


def encode_cursor(head: str, sequence: int) -> str:
    """The cursor that continues after `sequence` in the cluster of `head`; 16 characters."""
    return base64.urlsafe_b64encode(_LAYOUT.pack(sequence, _mark(head))).decode()


def decode_cursor(head: str, cursor: str) -> int:
    """The inverse of `encode_cursor`.

    Raises:
        PermanentError: the cursor is damaged, forged, or belongs to another cluster.
    """
    try:
        sequence, mark = _LAYOUT.unpack(_decoded(cursor))
    except (ValueError, struct.error):
        raise _damaged(cursor) from None
    # No sequence follows the largest one.
    if mark != _mark(head) or sequence == (1 << 64) - 1:
        raise PermanentError(f"cursor {cursor[:40]!r} does not belong to cluster {head!r}: start again without one")
    return int(sequence)


def encode_list_cursor(selection: str, place: Place) -> str:
    """The cursor that continues a list after a place.

    Args:
        selection: names order and filters; the same for every page of a list.
    """
    first, sequence, head = place
    return base64.urlsafe_b64encode(_LIST_LAYOUT.pack(first, sequence, _mark(selection)) + head).decode()


def decode_list_cursor(selection: str, cursor: str) -> Place:
    """The inverse of `encode_list_cursor`.

    Raises:
        PermanentError: the cursor is damaged, or belongs to a list in another order or with other filters.
    """
    try:
        data = _decoded(cursor)
        first, sequence, mark = _LIST_LAYOUT.unpack_from(data)
    except (ValueError, struct.error):
        raise _damaged(cursor) from None
    if mark != _mark(selection):
        raise PermanentError(
            f"cursor {cursor[:40]!r} belongs to another list: keep sort and filters, or start again without one"
        )
    return first, sequence, data[_LIST_LAYOUT.size :]


def _decoded(cursor: str) -> bytes:
    return base64.b64decode(cursor, altchars=b"-_", validate=True)


def _damaged(cursor: str) -> PermanentError:
    return PermanentError(f"cursor {cursor[:40]!r} is damaged: start again without one")


def _mark(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=4).digest()
