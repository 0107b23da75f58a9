"""Picture files to pixels, with limits, so that no upload can harm the process that reads it.

First step for users who have pictures rather than embeddings: file bytes → **pixels** → embedders → topics. The content
decides what a file is. Only the formats of `picture_kinds` are opened, each by the one decoder meant for it. The
dimensions in the header are checked before any pixel is decoded, and truncated files are refused rather than padded
with grey. The process that runs this bounds work and memory (`decoding/child.py`).
"""

import importlib
import io
import struct
import warnings
from functools import cache

import pi_heif
from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from neardup_platform.errors import BadPicture, TooCostly
from neardup_platform.images.jpeg_scans import count_scans
from neardup_platform.images.picture_kinds import HEAD_BYTES, NAMES, kind_of
from neardup_platform.images.rgb import Pixels, to_rgb

__all__ = ["MOST_SCANS", "Pixels", "decode"]

# Encoders write a dozen at most; each costs a pass over the whole picture.
MOST_SCANS = 100

# Pillow's other decoders are never imported.
_PLUGINS = ("Avif", "Bmp", "Gif", "Jpeg", "Mpo", "Png", "Tiff", "WebP")
# Measured: peak memory of a decoder for each pixel of the file.
_BYTES_PER_PIXEL = {"WEBP": 25, "AVIF": 20, "HEIF": 16}
_MEMORY = "takes more memory than images.decode_memory_mb: shrink it or raise the limit"

_DECODER_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError),
    *(struct.error, OverflowError, ZeroDivisionError, RuntimeError),
)
_ORIENTATION = 0x0112
# Grey of fewer than eight bits is stretched to 0…255 when it is read, but the transparent level is not.
_STRETCHED = {"L;2": 85, "L;4": 17}


class Postponed(Exception):
    """A picture larger than the quick lane decodes."""


def decode(
    data: bytes,
    *,
    max_pixels: int,
    max_bytes: int,
    enough_px: int | None = None,
    memory_bytes: int | None = None,
    quick_pixels: int | None = None,
) -> Pixels:
    """Decode one picture to upright RGB.

    Args:
        data: a JPEG, PNG, WebP, GIF, HEIC, AVIF, TIFF or BMP file; the first picture of several is used.
        max_pixels: largest width × height to open, checked before decoding.
        max_bytes: largest file to open.
        enough_px: if the shorter side needs no more than this, a JPEG is decoded at ½, ¼ or ⅛ of its size (libjpeg's
            scaled transform, several times faster), and any other picture above `REDUCED_ABOVE_PIXELS` is averaged
            down; None: keep the size.
        memory_bytes: how much memory the process may use; a picture known to need more is not decoded.
        quick_pixels: the most pixels to decode now; does not apply to JPEG.

    Returns:
        uint8 [height, width, 3], EXIF orientation applied, transparency laid over white, or over black if the picture
        would be invisible on white.

    Raises:
        BadPicture: empty, too large, of another format, truncated or damaged.
        Postponed: more than `quick_pixels`.
        TooCostly: a JPEG of more than `MOST_SCANS` scans, or not enough memory.
    """
    file_format, name = _checked_kind(data, max_bytes)
    prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about odd metadata; serious problems raise
        image = _open(data, file_format, name)
        _check_dimensions(image, name, max_pixels)
        _check_memory(image, name, memory_bytes)
        if quick_pixels is not None and image.format != "JPEG" and image.width * image.height > quick_pixels:
            raise Postponed
        try:
            return _pixels(image, enough_px)
        except MemoryError as error:
            raise TooCostly(f"{name} of {image.width}×{image.height} {_MEMORY}") from error
        except _DECODER_ERRORS as error:
            raise BadPicture(f"truncated or damaged {name} file ({error})") from error


@cache
def prepare() -> None:
    """Load every decoder and set Pillow's globals; otherwise the first `decode` does it."""
    # Pillow's own limit warns at half its value; here the limit is an argument.
    Image.MAX_IMAGE_PIXELS = None
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    # One thread per picture, so that the processor time of the process is that of the picture.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pi_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    Image.preinit()  # Pillow would load these later, when the process may not open files any more
    for name in _PLUGINS:
        importlib.import_module(f"PIL.{name}ImagePlugin")


def _checked_kind(data: bytes, max_bytes: int) -> tuple[str, str]:
    """Pillow's name of the format of a file, and the name for people; refuses what is never opened."""
    if not data:
        raise BadPicture(f"empty file: expected a {NAMES} picture")
    if len(data) > max_bytes:
        raise BadPicture(
            f"file of {len(data):,} bytes exceeds images.max_bytes = {max_bytes:,}: shrink it or raise the limit"
        )
    kind = kind_of(data[:HEAD_BYTES])
    if kind.format is None:
        raise BadPicture(f"not a {NAMES} file{f' but {kind.name}' if kind.name else ''}")
    if kind.format == "JPEG" and count_scans(data, MOST_SCANS) > MOST_SCANS:
        raise TooCostly(f"JPEG of more than {MOST_SCANS} scans: save it again, as baseline or progressive")
    return kind.format, kind.name


def _open(data: bytes, file_format: str, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=[file_format])
    except MemoryError as error:
        raise TooCostly(f"{name} that {_MEMORY}") from error
    except _DECODER_ERRORS as error:
        # Pillow's text about files it cannot identify contains a memory address.
        detail = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise BadPicture(f"damaged {name} file{detail}") from None


def _check_dimensions(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise BadPicture(f"{name} of {width}×{height} pixels has no area")
    if width * height > max_pixels:
        raise BadPicture(
            f"{name} of {width}×{height} = {width * height:,} pixels exceeds images.max_pixels = "
            f"{max_pixels:,}: shrink it or raise the limit"
        )


def _check_memory(image: Image.Image, name: str, memory_bytes: int | None) -> None:
    needed = image.width * image.height * _BYTES_PER_PIXEL.get(image.format or "", 0)
    if memory_bytes is not None and needed > memory_bytes:
        raise TooCostly(
            f"{name} of {image.width}×{image.height} takes about {needed >> 20:,} MB to decode, more than "
            f"images.decode_memory_mb = {memory_bytes >> 20:,}: shrink it or raise the limit"
        )


def _pixels(image: Image.Image, enough_px: int | None) -> Pixels:
    if image.format == "JPEG" and enough_px is not None:
        # Never below the requested size on either side: draft picks the smallest scale that still covers it.
        image.draft("RGB", (enough_px, enough_px))
    if isinstance(image, PngImagePlugin.PngImageFile):
        _scale_transparent_colour(image)
    image.load()
    return to_rgb(image, _orientation(image), enough_px)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, read after loading, when TIFF and HEIF files are already upright; 1 if it is damaged."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _DECODER_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _scale_transparent_colour(image: PngImagePlugin.PngImageFile) -> None:
    """Convert the single transparent colour of a PNG to the depth at which its pixels are read."""
    key, mode = image.info.get("transparency"), str(image.tile[0].args) if image.tile else ""
    if isinstance(key, int) and mode in _STRETCHED:
        image.info["transparency"] = key * _STRETCHED[mode]
    elif isinstance(key, tuple) and mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)
