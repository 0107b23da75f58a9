"""For any upload, decoding returns upright RGB pixels or raises one clear error."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from neardup_platform.errors import BadPicture, TooCostly
from neardup_platform.images.decode import Pixels, decode
from neardup_platform.images.jpeg_scans import count_scans
from neardup_platform.images.rgb import to_rgb

HEIF = Path(__file__).parent / "heif"
CASES = Path(__file__).parent / "cases"
LIMITS = {"max_pixels": 1_000_000, "max_bytes": 1_000_000}


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8))


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def assert_is_gradient(pixels: Pixels, width: int = 64, height: int = 48) -> None:
    """Upright with the right brightness everywhere; lossy formats and palettes may differ by a few levels."""
    assert pixels.shape == (height, width, 3)
    assert np.abs(pixels.astype(int) - np.asarray(gradient(width, height)).astype(int)).mean() < 12


def png(depth: int, colour: int, row: bytes, key: bytes) -> bytes:
    """A PNG of one row, with one transparent colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    width = len(row) * 8 // (depth * (3 if colour == 2 else 1))
    header = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"\0" + row)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*each) for each in ((b"IHDR", header), (b"tRNS", key), (b"IDAT", pixels), (b"IEND", b""))
    )


def quadrant_means(pixels: Pixels) -> list[float]:
    half_y, half_x = pixels.shape[0] // 2, pixels.shape[1] // 2
    return [
        float(pixels[y, x].mean())
        for y in (slice(0, half_y), slice(half_y, None))
        for x in (slice(0, half_x), slice(half_x, None))
    ]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP"])
def test_each_accepted_format_keeps_its_pixels(file_format: str) -> None:
    pixels = decode(encoded(gradient(), file_format), **LIMITS)
    assert pixels.dtype == np.uint8
    assert_is_gradient(pixels)


@pytest.mark.parametrize("name", ["gradient", "turned", "ten-bit"])
def test_heic_is_decoded_and_rotated_once(name: str) -> None:
    """`turned.heic` declares its rotation twice, in a property and in EXIF, as phones do."""
    assert_is_gradient(decode((HEIF / f"{name}.heic").read_bytes(), **LIMITS))


def test_heic_tiles_are_joined() -> None:
    assert_is_gradient(decode((HEIF / "grid.heic").read_bytes(), **LIMITS), 160, 96)


def test_heic_keeps_its_transparency() -> None:
    pixels = decode((HEIF / "transparent.heic").read_bytes(), **LIMITS)
    assert (pixels[:, 40:] == 255).all()
    assert pixels[24, 20].max() < 200


def test_the_first_of_several_pictures_in_a_jpeg_is_used() -> None:
    second = gradient().transpose(Image.Transpose.ROTATE_180)
    assert_is_gradient(decode(encoded(gradient(), "MPO", save_all=True, append_images=[second], quality=95), **LIMITS))


@pytest.mark.parametrize("file_format", ["PPM", "ICO", "EPS", "PCX", "TGA", "JPEG2000", "PDF", "DDS", "SGI"])
def test_other_formats_are_refused_whatever_pillow_can_do(file_format: str) -> None:
    with pytest.raises(BadPicture, match=r"^not a JPEG, PNG, WebP, GIF, HEIC, AVIF, TIFF or BMP file"):
        decode(encoded(gradient(), file_format), **LIMITS)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS", "Photoshop"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x18ftypmp42", "video"),
        (b"\0\0\0\x18ftypcrx ", "camera raw"),
    ],
)
def test_a_refusal_names_what_the_file_is(head: bytes, name: str) -> None:
    with pytest.raises(BadPicture, match=f"but {name}$"):
        decode(head + bytes(300), **LIMITS)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP"])
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


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_applied_once(file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = gradient().transpose(TURNS[orientation])
    assert_is_gradient(decode(encoded(stored, file_format, exif=exif, quality=95), **LIMITS))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_damaged_exif_data_does_not_lose_the_picture(exif: bytes) -> None:
    assert_is_gradient(decode(encoded(gradient(), "JPEG", exif=exif, quality=95), **LIMITS))


def test_transparency_is_laid_over_white() -> None:
    pixels = decode(encoded(Image.new("RGBA", (10, 10), (0, 0, 0, 0)), "PNG"), **LIMITS)
    assert (pixels == 255).all()


def test_half_transparent_black_over_white_is_grey() -> None:
    pixels = decode(encoded(Image.new("RGBA", (10, 10), (0, 0, 0, 128)), "PNG"), **LIMITS)
    assert abs(int(pixels[0, 0, 0]) - 127) <= 1


@pytest.mark.parametrize("white", [255, 245])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_white_logo_is_laid_over_black(mode: str, white: int) -> None:
    shape = Image.new("L", (40, 40), 0)
    shape.paste(255, (10, 10, 30, 30))
    logo = Image.merge("LA", (Image.new("L", (40, 40), white), shape)).convert("RGBA").convert(mode)
    pixels = decode(encoded(logo, "PNG"), **LIMITS)
    assert pixels[20, 20].min() >= 240
    assert pixels[2, 2].max() == 0


def test_a_logo_with_some_colour_stays_on_white() -> None:
    logo = Image.new("RGBA", (100, 100), (255, 255, 255, 0))
    logo.paste((255, 255, 255, 255), (10, 10, 90, 90))
    logo.paste((200, 30, 30, 255), (40, 40, 44, 44))
    pixels = decode(encoded(logo, "PNG"), **LIMITS)
    assert (pixels[2, 2] == 255).all()


def test_a_white_page_without_transparency_stays_white() -> None:
    assert (decode(encoded(Image.new("RGBA", (50, 50), "white"), "PNG"), **LIMITS) == 255).all()


def test_real_white_logos_are_visible() -> None:
    for name in ("whitelogo-alternativeto~0.png", "whitelogo-bookbub~0.png"):
        pixels = decode((CASES / name).read_bytes(), **LIMITS)
        assert 0.05 < (pixels > 128).mean() < 0.9


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    pixels = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), **LIMITS)
    assert (pixels[0, 0] == (255, 0, 0)).all()


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    for file_format in ("PNG", "TIFF"):
        pixels = decode(encoded(Image.fromarray(ramp), file_format), **LIMITS)
        assert np.abs(pixels[..., 0].astype(int).ravel() - np.arange(256)).max() <= 1


def test_sixteen_bit_grey_with_eight_bit_values_is_not_black() -> None:
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16)
    assert (decode(encoded(Image.fromarray(ramp), "PNG"), **LIMITS)[..., 0].ravel() == np.arange(256)).all()


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (0.0, 255.0), (0.0, 65_535.0), (-3.0, 9.0), (0.0, 1e9), (0, 255), (0, 65_535), (-9_999, 9_999)],
)
def test_wide_grey_keeps_its_range(low: float, high: float) -> None:
    ramp = np.linspace(low, high, 256).reshape(16, 16).astype(np.float32 if isinstance(low, float) else np.int32)
    pixels = decode(encoded(Image.fromarray(ramp), "TIFF"), **LIMITS)
    assert np.abs(pixels[..., 0].astype(int).ravel() - np.arange(256)).max() <= 1


def test_grey_that_is_not_a_number_is_black() -> None:
    odd = np.array([[np.nan, 0.5], [np.inf, 1.0]], np.float32)
    assert decode(encoded(Image.fromarray(odd), "TIFF"), **LIMITS)[..., 0].tolist() == [[0, 127], [255, 255]]


@pytest.mark.parametrize(
    ("depth", "colour", "row", "key"),
    [
        (1, 0, b"\x80", b"\0\1"),
        (2, 0, b"\x80", b"\0\2"),
        (4, 0, b"\xa0", b"\0\x0a"),
        (8, 0, b"\xaa\0", b"\0\xaa"),
        (16, 0, b"\xaa\xbb\0\0", b"\xaa\xbb"),
        (16, 0, b"\0\xff\0\0", b"\0\xff"),
        (8, 2, b"\x10\x20\x30\0\0\0", b"\0\x10\0\x20\0\x30"),
        (16, 2, b"\x10\x11\x20\x22\x30\x33" + bytes(6), b"\x10\x11\x20\x22\x30\x33"),
    ],
)
def test_the_transparent_colour_of_a_png_is_found_at_every_depth(
    depth: int, colour: int, row: bytes, key: bytes
) -> None:
    """The first pixel has it and becomes white; the last is black and stays black."""
    pixels = decode(png(depth, colour, row, key), **LIMITS)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, -1].tolist() == [0, 0, 0]


def test_a_real_sixteen_bit_grey_picture_is_not_black_and_is_transparent() -> None:
    data = (CASES / "i_trns.png").read_bytes()
    pixels, levels = decode(data, **LIMITS), np.asarray(Image.open(io.BytesIO(data)))
    assert (pixels[levels == 255] == 255).all()
    assert (pixels[levels != 255][:, 0] == levels[levels != 255]).all()


@pytest.mark.parametrize(
    ("name", "colour"),
    [("solid-red", (255, 0, 0)), ("solid-blue", (0, 0, 255)), ("solid-black", (0, 0, 0)), ("navy", (10, 20, 60))],
)
def test_plain_pictures_have_their_colour(name: str, colour: tuple[int, int, int]) -> None:
    pixels = decode((CASES / f"{name}.png").read_bytes(), **LIMITS)
    assert pixels.shape == (480, 640, 3)
    assert (pixels == colour).all()


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA", "RGBA", "YCbCr", "LAB"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    file_format = "JPEG" if mode == "CMYK" else "TIFF" if mode in ("YCbCr", "LAB") else "PNG"
    assert decode(encoded(gradient().convert(mode) if mode != "LAB" else lab(), file_format), **LIMITS).shape == (
        48,
        64,
        3,
    )


def lab() -> Image.Image:
    converted = ImageCms.profileToProfile(
        gradient(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert converted is not None
    return converted


def test_lab_and_cmyk_have_the_intended_colours() -> None:
    assert_is_gradient(decode(encoded(lab(), "TIFF"), **LIMITS))
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for file_format in ("JPEG", "TIFF"):
        assert np.abs(decode(encoded(red, file_format), **LIMITS)[8, 8].astype(int) - (255, 0, 0)).max() <= 3


def test_a_palette_with_transparent_entries_is_laid_over_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    for transparency in (1, b"\xff\0"):
        pixels = decode(encoded(palette, "PNG", transparency=transparency), **LIMITS)
        assert pixels[0].tolist() == [[10, 20, 30], [255, 255, 255]]


def test_a_large_picture_is_averaged_down_unless_requested_whole() -> None:
    columns = np.repeat(np.arange(0, 200, 2, dtype=np.uint8), 84)
    big = Image.fromarray(np.broadcast_to(columns, (6_000, 8_400)).copy())
    reduced = to_rgb(big, 1, 224)
    assert reduced.shape == (3_000, 4_200, 3)
    assert (reduced[1_500, :, 0] == np.repeat(np.arange(0, 200, 2), 42)).all()
    assert to_rgb(big, 6).shape == (8_400, 6_000, 3)
    assert to_rgb(big, 1, 4_000).shape == (6_000, 8_400, 3)


def progressive(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until there are `scans`."""
    data = encoded(gradient(), "JPEG", progressive=True)
    body, last = data[:-2], data.rindex(b"\xff\xda")
    return body + data[last:-2] * (scans - count_scans(data, 99)) + b"\xff\xd9"


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    assert count_scans(progressive(100), 100) == 100
    assert_is_gradient(decode(progressive(100), **LIMITS))
    with pytest.raises(TooCostly, match="more than 100 scans"):
        decode(progressive(101), **LIMITS)


def test_scans_of_a_thumbnail_are_not_counted() -> None:
    exif = b"Exif\0\0" + progressive(60)
    assert count_scans(encoded(gradient(), "JPEG", exif=exif), 100) == 1


@given(st.binary(max_size=300))
def test_counting_scans_terminates_on_any_bytes(data: bytes) -> None:
    assert 0 <= count_scans(data, 5) <= 6
    assert 0 <= count_scans(b"\xff\xd8" + data.replace(b"a", b"\xff\xda"), 5) <= 6


def test_a_jpeg_is_reduced_no_further_than_requested() -> None:
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
def test_garbage_is_refused_without_another_error(tail: bytes, magic: bytes) -> None:
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
