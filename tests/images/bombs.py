"""Generates small files that are a lot of work to decode."""

import io
import struct

from PIL import Image


def jpeg_of_scans(scans: int, side_px: int = 9_999) -> bytes:
    """A progressive JPEG of at most a few hundred kilobytes, each scan of which passes over the whole picture."""
    content = io.BytesIO()
    Image.new("L", (side_px, side_px), 77).save(content, "JPEG", progressive=True)
    data = content.getvalue()
    assert data.endswith(b"\xff\xd9")
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (scans - data.count(b"\xff\xda")) + data[-2:]


def webp_of_one_colour(width: int = 16_383, height: int = 6_000) -> bytes:
    """A lossless WebP whose five codes have one symbol each, so that no pixel takes a bit."""
    bits, number = "", 0
    for value, count in ((width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 3), *((0b0001, 4),) * 5):
        bits = format(value, f"0{count}b") + bits
    number = int(bits, 2)
    stream = b"\x2f" + number.to_bytes(-(-len(bits) // 8), "little")
    stream += b"\0" * (len(stream) % 2)
    chunk = b"VP8L" + struct.pack("<I", len(stream)) + stream
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def gif_of_one_pixel(width: int = 10_000, height: int = 9_990) -> bytes:
    """A GIF of one pixel on a screen of 100 million."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(3) + b"\xff\xff\xff"
    return screen + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00;"
