"""Bytes of a picture file to pixels, within bounds, so that no upload can hurt the process that reads it.

First step for people who have pictures rather than embeddings: file bytes → **pixels** → embedders → topics.
Only four formats are opened, dimensions are checked from the header before any pixel is decoded, and
truncated files are refused rather than padded with grey.
"""

import io
import struct
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from neardup_platform.errors import BadPicture

Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
# Pillow's own limit is a global and warns at half its value; the limit here is checked per call instead.
Image.MAX_IMAGE_PIXELS = None

_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error)


def decode(data: bytes, *, max_pixels: int, max_bytes: int, enough_px: int | None = None) -> Pixels:
    """Decodes one picture upright, on white, in RGB.

    Args:
        data: a JPEG, PNG, WebP or GIF file; of an animation the first frame is taken.
        max_pixels: largest width × height opened, checked before decoding.
        max_bytes: largest file opened.
        enough_px: where the shorter side needs no more than this, a JPEG is decoded at ½, ¼ or ⅛ of its
            size (libjpeg's scaled transform, several times faster); other formats ignore it.

    Returns:
        uint8 [height, width, 3], EXIF orientation applied, transparency laid over white.

    Raises:
        BadPicture: empty, too large, not one of the four formats, truncated or damaged.
    """
    if not data:
        raise BadPicture("empty file: expected a JPEG, PNG, WebP or GIF picture")
    if len(data) > max_bytes:
        raise BadPicture(
            f"file of {len(data):,} bytes exceeds images.max_bytes = {max_bytes:,}: shrink it or raise the limit"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters raises
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            # Its own text names a memory address.
            raise BadPicture("not a JPEG, PNG, WebP or GIF file") from None
        except _DECODER_ERRORS as error:
            raise BadPicture(f"not a readable JPEG, PNG, WebP or GIF file ({error})") from error
        _check_dimensions(image, max_pixels)
        try:
            return _pixels(image, enough_px)
        except MemoryError as error:
            raise BadPicture(f"{image.format} of {image.width}×{image.height} does not fit in memory") from error
        except _DECODER_ERRORS as error:
            raise BadPicture(f"truncated or damaged {image.format} file ({error})") from error


def _check_dimensions(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise BadPicture(f"{image.format} of {width}×{height} pixels has no area")
    if width * height > max_pixels:
        raise BadPicture(
            f"{image.format} of {width}×{height} = {width * height:,} pixels exceeds images.max_pixels = "
            f"{max_pixels:,}: shrink it or raise the limit"
        )


def _pixels(image: Image.Image, enough_px: int | None) -> Pixels:
    if image.format == "JPEG" and enough_px is not None:
        # Never below the wanted size on either side: draft picks the smallest scale that still covers it.
        image.draft("RGB", (enough_px, enough_px))
    image.load()
    upright = ImageOps.exif_transpose(image)
    return np.asarray(_on_white(upright), dtype=np.uint8)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Sixteen-bit grey would be clipped, not scaled, by Pillow's conversion.
        shifted = np.asarray(image.convert("I"), dtype=np.int32) >> 8
        return Image.fromarray(shifted.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
