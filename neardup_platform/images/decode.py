"""Bytes of a picture file to pixels, within bounds, so that no upload can hurt the process that reads it.

First step for people who have pictures rather than embeddings: file bytes → **pixels** → embedders → topics.
What a file is follows from its content; only the formats of `picture_kinds` are opened, each by the one decoder
meant for it. Dimensions are checked from the header before any pixel is decoded, and truncated files are refused
rather than padded with grey. Work and memory are bounded by the process that this runs in (`decoder_child.py`).
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

# Others of Pillow's decoders are never imported.
_PLUGINS = ("Avif", "Bmp", "Gif", "Jpeg", "Mpo", "Png", "Tiff", "WebP")
# Measured: memory that a decoder takes at its peak, for each pixel of the file.
_BYTES_PER_PIXEL = {"WEBP": 25, "AVIF": 20, "HEIF": 16}
_MEMORY = "takes more memory than images.decode_memory_mb: shrink it or raise the limit"

_DECODER_ERRORS: tuple[type[Exception], ...] = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError),
    *(struct.error, OverflowError, ZeroDivisionError, RuntimeError),
)
_ORIENTATION = 0x0112
# Grey of fewer than eight bits is stretched to 0…255 when it is read; the transparent level is not.
_STRETCHED = {"L;2": 85, "L;4": 17}


class Postponed(Exception):
    """A picture that is larger than what is decoded quickly."""


def decode(
    data: bytes,
    *,
    max_pixels: int,
    max_bytes: int,
    enough_px: int | None = None,
    memory_bytes: int | None = None,
    quick_pixels: int | None = None,
) -> Pixels:
    """Decodes one picture upright in RGB.

    Args:
        data: a JPEG, PNG, WebP, GIF, HEIC, AVIF, TIFF or BMP file; the first picture of several is taken.
        max_pixels: largest width × height opened, checked before decoding.
        max_bytes: largest file opened.
        enough_px: where the shorter side needs no more than this, a JPEG is decoded at ½, ¼ or ⅛ of its
            size (libjpeg's scaled transform, several times faster), and any other picture above
            `REDUCED_ABOVE_PIXELS` is averaged down; None: as it is.
        memory_bytes: what the process may take; a picture known to need more is not begun.
        quick_pixels: the most that is decoded now; a JPEG's are not counted.

    Returns:
        uint8 [height, width, 3], EXIF orientation applied, transparency laid over white, or over black where the
        picture would vanish on white.

    Raises:
        BadPicture: empty, too large, of another format, truncated or damaged.
        Postponed: more than `quick_pixels`.
        TooCostly: a JPEG of more than `MOST_SCANS` scans, or memory does not suffice.
    """
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
    prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters raises
        try:
            image = Image.open(io.BytesIO(data), formats=[kind.format])
        except MemoryError as error:
            raise TooCostly(f"{kind.name} that {_MEMORY}") from error
        except _DECODER_ERRORS as error:
            # Pillow's own text of what it cannot identify names a memory address.
            said = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
            raise BadPicture(f"damaged {kind.name} file{said}") from None
        _check_dimensions(image, kind.name, max_pixels)
        _check_memory(image, kind.name, memory_bytes)
        if quick_pixels is not None and image.format != "JPEG" and image.width * image.height > quick_pixels:
            raise Postponed
        try:
            return _pixels(image, enough_px)
        except MemoryError as error:
            raise TooCostly(f"{kind.name} of {image.width}×{image.height} {_MEMORY}") from error
        except _DECODER_ERRORS as error:
            raise BadPicture(f"truncated or damaged {kind.name} file ({error})") from error


@cache
def prepare() -> None:
    """Load every decoder and set what Pillow has as globals; done by the first `decode` otherwise."""
    # Pillow's own limit warns at half its value; the limit here is passed in.
    Image.MAX_IMAGE_PIXELS = None
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    # One picture has one thread, so that processor time means what it says.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pi_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    Image.preinit()  # Pillow would load these later, when a process may have no file left to open
    for name in _PLUGINS:
        importlib.import_module(f"PIL.{name}ImagePlugin")


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
        # Never below the wanted size on either side: draft picks the smallest scale that still covers it.
        image.draft("RGB", (enough_px, enough_px))
    if isinstance(image, PngImagePlugin.PngImageFile):
        _scale_transparent_colour(image)
    image.load()
    return to_rgb(image, _orientation(image), enough_px)


def _orientation(image: Image.Image) -> int:
    """EXIF's, read after loading, when TIFF and HEIF files are upright already; 1 where the EXIF data is damaged."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except _DECODER_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _scale_transparent_colour(image: PngImagePlugin.PngImageFile) -> None:
    """Bring the one transparent colour of a PNG to the depth that its pixels are read at."""
    key, mode = image.info.get("transparency"), str(image.tile[0].args) if image.tile else ""
    if isinstance(key, int) and mode in _STRETCHED:
        image.info["transparency"] = key * _STRETCHED[mode]
    elif isinstance(key, tuple) and mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)
