"""Opaque paging cursors: base64url of the last sequence (u64) and 4 bytes of BLAKE2b of the head. Pure.

The digest detects a cursor of another cluster, which would continue at an arbitrary place.
"""

import base64
import hashlib
import struct

from neardup_platform.errors import PermanentError

_LAYOUT = struct.Struct(">Q4s")


def encode_cursor(head: str, sequence: int) -> str:
    """The cursor that continues after `sequence` in the cluster of `head`; 16 characters."""
    return base64.urlsafe_b64encode(_LAYOUT.pack(sequence, _mark(head))).decode()


def decode_cursor(head: str, cursor: str) -> int:
    """The inverse of `encode_cursor`.

    Raises:
        PermanentError: the cursor is damaged, forged, or belongs to another cluster.
    """
    try:
        sequence, mark = _LAYOUT.unpack(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (ValueError, struct.error):
        raise PermanentError(f"cursor {cursor[:40]!r} is damaged: start again without one") from None
    # No sequence follows the largest one.
    if mark != _mark(head) or sequence == (1 << 64) - 1:
        raise PermanentError(f"cursor {cursor[:40]!r} does not belong to cluster {head!r}: start again without one")
    return int(sequence)


def _mark(head: str) -> bytes:
    return hashlib.blake2b(head.encode(), digest_size=4).digest()
