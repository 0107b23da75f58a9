"""The kind of a file, detected from its first bytes: a picture in a supported format, or another named kind.

File bytes → **kind** → decoder, or the count of skipped files. The file name is not used: pictures are often called
`IMG_0042` or `photo.jpg.download`, and a `.jpg` may be a web page.
"""

from pathlib import PurePosixPath
from typing import NamedTuple

# Enough of a file to detect its kind: the box `ftyp` lists its brands within about the first hundred bytes.
HEAD_BYTES = 256

# Pillow's names of the supported formats, and the media type of those that browsers show.
MEDIA_TYPES: dict[str, str | None] = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
    "TIFF": None,
    "HEIF": None,
}
NAMES = "JPEG, PNG, WebP, GIF, HEIC, AVIF, TIFF or BMP"

# A file with such a name that is none of these formats is damaged or mislabelled, which is reported.
SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif"),
        *("heic", "heif", "hif", "avif", "avifs", "tif", "tiff", "bmp", "dib"),
    )
)

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_HEIF_CONTAINERS = frozenset({b"mif1", b"msf1"})
# Sizes of the second header of a BMP file; the two letters alone would match any text that starts with "BM".
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_MAX_SUFFIX = 12


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        format: Pillow's name of the format; None if it is not supported.
        name: for people; empty if the content is not recognised.
    """

    format: str | None
    name: str


_MAGIC = (
    (b"\xff\xd8\xff", Kind("JPEG", "JPEG")),
    (b"\x89PNG\r\n\x1a\n", Kind("PNG", "PNG")),
    (b"GIF87a", Kind("GIF", "GIF")),
    (b"GIF89a", Kind("GIF", "GIF")),
    (b"II*\0", Kind("TIFF", "TIFF")),
    (b"MM\0*", Kind("TIFF", "TIFF")),
    (b"II+\0", Kind("TIFF", "TIFF")),
    (b"MM\0+", Kind("TIFF", "TIFF")),
    (b"\xff\x0a", Kind(None, "JPEG XL")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Kind(None, "JPEG XL")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Kind(None, "JPEG 2000")),
    (b"\xff\x4f\xff\x51", Kind(None, "JPEG 2000")),
    (b"8BPS", Kind(None, "Photoshop")),
    (b"%PDF-", Kind(None, "PDF")),
    (b"%!PS", Kind(None, "PostScript")),
    (b"\0\0\x01\0", Kind(None, "ICO")),
    (b"\0\x05\x16\x07", Kind(None, "AppleDouble")),
    (b"PK\x03\x04", Kind(None, "ZIP")),
)


def kind_of(head: bytes) -> Kind:
    """The kind of a file, given at least its first `HEAD_BYTES`, or all of it."""
    if head[4:8] == b"ftyp":
        return _boxed(head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Kind("WEBP", "WebP")
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return Kind("BMP", "BMP")
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), Kind(None, ""))


def media_type(head: bytes) -> str | None:
    """The media type of a picture that browsers show; None for everything else."""
    return MEDIA_TYPES.get(kind_of(head).format or "")


def skipped_as(file_name: str, head: bytes) -> str | None:
    """The category of a skipped file of a folder; None if the file is decoded, or refused by name.

    Args:
        file_name: its last part suffices.
        head: at least its first `HEAD_BYTES`, or all of it.
    """
    kind = kind_of(head)
    suffix = PurePosixPath(file_name).suffix.lower()
    if kind.format or (suffix in SUFFIXES and not kind.name):
        return None
    if kind.name:
        return f"{kind.name} (not decoded)"
    if not suffix:
        return "without a suffix"
    printable = suffix.isascii() and suffix.isprintable()
    return suffix if printable and len(suffix) <= _MAX_SUFFIX else "with an odd suffix"


def _boxed(head: bytes) -> Kind:
    """The kind of a file in boxes (ISO/IEC 14496-12): its major brand decides, or for a container the listed brands."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major, *listed = [head[start : start + 4] for start in (8, *range(16, size - 3, 4))]
    brands = {major} if major not in _HEIF_CONTAINERS else {major, *listed}
    if brands & _AVIF_BRANDS:
        return Kind("AVIF", "AVIF")
    if brands & (_HEIF_BRANDS | _HEIF_CONTAINERS):
        return Kind("HEIF", "HEIC")
    if major == b"crx ":
        return Kind(None, "camera raw")
    return Kind(None, "video")
