"""The protocol of a decoder process: fixed headers and raw bytes, nothing that could be executed.

    request   magic "NDRQ" · enough_px u32, 0 for none · max_pixels u64 · quick_pixels u64, 0 for none ·
              processor seconds f64 · seconds f64 · length u64
              then the file
    answer    magic "NDAN" · status u8 · width u32 · height u32 · length u64
              then width × height × 3 bytes of RGB, or the reason as UTF-8

All numbers are big-endian. The parent does not trust an answer: it checks lengths before it allocates anything.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

READY = b"NDOK"
_REQUEST, _ANSWER = struct.Struct(">4sIQQddQ"), struct.Struct(">4sBIIQ")
_REQUEST_MAGIC, _ANSWER_MAGIC = b"NDRQ", b"NDAN"
REQUEST_BYTES, ANSWER_BYTES = _REQUEST.size, _ANSWER.size
MAX_REASON_BYTES = 2_000


class Status(IntEnum):
    """The outcome for a picture."""

    PICTURE = 0
    BAD = 1
    TOO_COSTLY = 2
    # More pixels than the quick lane decodes; nothing was decoded.
    POSTPONED = 3


class Request(NamedTuple):
    """How to decode the file that follows."""

    enough_px: int | None
    max_pixels: int
    quick_pixels: int | None
    cpu_s: float
    wall_s: float
    length: int

    def pack(self) -> bytes:
        """Encode the header."""
        return _REQUEST.pack(
            _REQUEST_MAGIC,
            self.enough_px or 0,
            self.max_pixels,
            self.quick_pixels or 0,
            self.cpu_s,
            self.wall_s,
            self.length,
        )

    @classmethod
    def unpack(cls, header: bytes) -> "Request":
        """Decode a header written by `pack`.

        Raises:
            ValueError: it is not a request.
        """
        magic, enough_px, max_pixels, quick_pixels, *others = _REQUEST.unpack(header)
        if magic != _REQUEST_MAGIC:
            raise ValueError(f"a request does not start with {magic!r}")
        return cls(enough_px or None, max_pixels, quick_pixels or None, *others)


class Answer(NamedTuple):
    """The outcome for a file, and how many bytes follow."""

    status: Status
    width: int
    height: int
    length: int

    def pack(self) -> bytes:
        """Encode the header."""
        return _ANSWER.pack(_ANSWER_MAGIC, *self)

    @classmethod
    def unpack(cls, header: bytes, max_pixels: int) -> "Answer":
        """Decode a header written by `pack`, for a reader that does not trust the writer.

        Raises:
            ValueError: it is not an answer, or not one that a decoder gives.
        """
        magic, status, width, height, length = _ANSWER.unpack(header)
        if magic != _ANSWER_MAGIC:
            raise ValueError(f"an answer does not start with {magic!r}")
        answer = cls(Status(status), width, height, length)
        if answer.status == Status.PICTURE:
            if not 0 < width * height <= max_pixels or length != width * height * 3:
                raise ValueError(f"{length} bytes for {width}×{height} pixels")
        elif length > MAX_REASON_BYTES:
            raise ValueError(f"a reason of {length} bytes")
        return answer
