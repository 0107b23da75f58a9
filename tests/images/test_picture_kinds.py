"""The kind of a file depends on its first bytes; its name only decides whether a problem is reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neardup_platform.images.picture_kinds import HEAD_BYTES, Kind, kind_of, skipped_as


def boxed(major: bytes, *listed: bytes) -> bytes:
    size = 16 + 4 * len(listed)
    return size.to_bytes(4, "big") + b"ftyp" + major + bytes(4) + b"".join(listed) + b"\0\0\0\x08free"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (boxed(b"heic", b"mif1"), "HEIF"),
        (boxed(b"mif1", b"mif1", b"heic"), "HEIF"),
        (boxed(b"mif1", b"mif1", b"miaf", b"avif"), "AVIF"),
        (boxed(b"avif", b"mif1", b"heic"), "AVIF"),
        (boxed(b"msf1", b"hevc"), "HEIF"),
        (boxed(b"isom", b"heic"), None),
        (b"BM" + bytes(12) + b"\x28\0\0\0", "BMP"),
        (b"BMW: a history of the motor car", None),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
    ],
)
def test_formats_are_distinguished(head: bytes, expected: str | None) -> None:
    assert kind_of(head).format == expected


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("IMG_0042", b"\xff\xd8\xff\xe1", None),
        ("photo.jpg.download", b"\x89PNG\r\n\x1a\n", None),
        ("notes.txt", b"hello", ".txt"),
        ("README", b"hello", "without a suffix"),
        (".DS_Store", b"\0\0\0\1Bud1", "without a suffix"),
        ("empty.txt", b"", ".txt"),
        ("a.jxl", b"\xff\x0a", "JPEG XL (not decoded)"),
        ("clip.MOV", boxed(b"qt  "), "video (not decoded)"),
        ("._cat.jpg", b"\0\x05\x16\x07", "AppleDouble (not decoded)"),
        ("evil.\x1b[31m", b"x", "with an odd suffix"),
        ("long." + "x" * 40, b"x", "with an odd suffix"),
        ("page.jpg", b"<!DOCTYPE html>", None),
        ("empty.png", b"", None),
    ],
)
def test_skipped_files_are_counted_by_kind(name: str, head: bytes, expected: str | None) -> None:
    """None: it is decoded, or refused by name because it has the suffix of a picture."""
    assert skipped_as(name, head) == expected


@given(st.binary(max_size=HEAD_BYTES), st.text(max_size=20))
def test_any_head_and_name_has_a_kind(head: bytes, name: str) -> None:
    assert isinstance(kind_of(head), Kind)
    skipped = skipped_as(name, head)
    assert skipped is None or (skipped.isprintable() and len(skipped) < 40)


@given(st.binary(max_size=60))
def test_any_list_of_brands_is_read_within_its_box(tail: bytes) -> None:
    assert kind_of(tail[:4].ljust(4, b"\0") + b"ftypmif1" + tail).format in ("HEIF", "AVIF")
