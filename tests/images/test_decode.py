"""Whatever is uploaded, decoding yields upright RGB pixels or one clear refusal."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from neardup_platform.errors import BadPicture
from neardup_platform.images.decode import Pixels, decode

LIMITS = {"max_pixels": 1_000_000, "max_bytes": 1_000_000}


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8))


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def quadrant_means(pixels: Pixels) -> list[float]:
    half_y, half_x = pixels.shape[0] // 2, pixels.shape[1] // 2
    return [
        float(pixels[y, x].mean())
        for y in (slice(0, half_y), slice(half_y, None))
        for x in (slice(0, half_x), slice(half_x, None))
    ]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_each_accepted_format_keeps_its_pixels(file_format: str) -> None:
    pixels = decode(encoded(gradient(), file_format), **LIMITS)
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - np.asarray(gradient()).astype(int)).mean() < 12


@pytest.mark.parametrize("file_format", ["BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused(file_format: str) -> None:
    with pytest.raises(BadPicture, match="JPEG, PNG, WebP or GIF"):
        decode(encoded(gradient(), file_format), **LIMITS)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_file_is_refused(file_format: str, kept: float) -> None:
    data = encoded(gradient(200, 200), file_format)
    with pytest.raises(BadPicture):
        decode(data[: int(len(data) * kept)], **LIMITS)


def test_a_decompression_bomb_is_refused_by_its_header_alone() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(BadPicture, match=r"60000×60000 .* exceeds images.max_pixels"):
        decode(bomb + b"\0\0\0\0IDAT", **LIMITS)


def test_a_file_above_the_byte_limit_is_refused() -> None:
    with pytest.raises(BadPicture, match=r"exceeds images\.max_bytes = 100"):
        decode(encoded(gradient(), "PNG"), max_pixels=10**6, max_bytes=100)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    upright = gradient().transpose(Image.Transpose.ROTATE_90)
    turned = decode(encoded(upright, "JPEG", exif=exif, quality=95), **LIMITS)
    assert turned.shape == (48, 64, 3)
    assert np.abs(turned.astype(int) - np.asarray(gradient()).astype(int)).mean() < 12


def test_transparency_lies_over_white() -> None:
    pixels = decode(encoded(Image.new("RGBA", (10, 10), (0, 0, 0, 0)), "PNG"), **LIMITS)
    assert (pixels == 255).all()


def test_half_transparent_black_over_white_is_grey() -> None:
    pixels = decode(encoded(Image.new("RGBA", (10, 10), (0, 0, 0, 128)), "PNG"), **LIMITS)
    assert abs(int(pixels[0, 0, 0]) - 127) <= 1


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    pixels = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), **LIMITS)
    assert (pixels[0, 0] == (255, 0, 0)).all()


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    pixels = decode(encoded(Image.fromarray(ramp), "PNG"), **LIMITS)
    assert np.abs(pixels[..., 0].astype(int).ravel() - np.arange(256)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    file_format = "JPEG" if mode == "CMYK" else "PNG"
    assert decode(encoded(gradient().convert(mode), file_format), **LIMITS).shape == (48, 64, 3)


def test_a_jpeg_is_reduced_no_further_than_asked() -> None:
    big = encoded(gradient(900, 700), "JPEG", quality=95)
    pixels = decode(big, **LIMITS, enough_px=224)
    assert pixels.shape == (350, 450, 3)
    whole = decode(big, **LIMITS)
    assert np.allclose(quadrant_means(pixels), quadrant_means(whole), atol=2)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x40\0\0\0WEBPVP8 "]),
)
def test_garbage_is_refused_and_nothing_else_happens(tail: bytes, magic: bytes) -> None:
    with pytest.raises(BadPicture):
        decode(magic + tail, **LIMITS)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]), st.integers(0, 10**6), st.integers(0, 255))
def test_a_flipped_byte_never_escapes_as_another_error(file_format: str, place: int, value: int) -> None:
    data = bytearray(encoded(gradient(), file_format))
    data[place % len(data)] = value
    try:
        pixels = decode(bytes(data), **LIMITS)
    except BadPicture:
        return
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
