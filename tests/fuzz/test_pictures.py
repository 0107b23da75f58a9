"""A decoder process turns any bytes into a picture within limits or a clear refusal, in bounded time."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from neardup_platform.errors import BadPicture
from neardup_platform.images.decoding.pool import DecoderPool
from neardup_platform.settings import ImageSettings
from tests.images.bombs import gif_of_one_pixel, webp_of_one_colour

ROOT = Path(__file__).parents[2]
LIMITS = ImageSettings(max_pixels=4_000_000, max_bytes=1_000_000, decode_memory_mb=256, decode_cpu_s=2.0)
MAGIC = (
    b"",
    b"\xff\xd8\xff\xe0",
    b"\xff\xd8\xff\xda",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF89a",
    b"RIFF\xff\0\0\0WEBPVP8L",
    b"RIFF\xff\0\0\0WEBPVP8 ",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"BM" + bytes(12) + b"\x28\0\0\0",
)


def encoded(name: str, **options: object) -> bytes:
    with Image.open(ROOT / "samples" / "pictures" / "ajanta-caves.jpg") as sample:
        picture = sample.convert("RGB").resize((96, 64))
    content = io.BytesIO()
    picture.save(content, name, **options)
    return content.getvalue()


REAL = [
    encoded("JPEG"),
    encoded("JPEG", progressive=True),
    encoded("MPO", save_all=True, append_images=[Image.new("RGB", (96, 64))]),
    encoded("PNG"),
    encoded("WEBP"),
    encoded("WEBP", lossless=True),
    encoded("GIF"),
    encoded("AVIF"),
    encoded("TIFF"),
    *(encoded("TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits")),
    encoded("BMP"),
    *(path.read_bytes() for path in sorted((ROOT / "tests" / "images" / "heif").glob("*.heic"))),
]


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(LIMITS, processes=1) as started:
        yield started


def check(pool: DecoderPool, data: bytes) -> None:
    try:
        pixels = pool.decode(data, 32)
    except BadPicture as refused:
        assert str(refused).isprintable()
        assert 10 < len(str(refused)) < 2_000
        return
    height, width, channels = pixels.shape
    assert channels == 3
    assert 0 < height * width <= LIMITS.max_pixels


@given(st.sampled_from(MAGIC), st.binary(max_size=600))
@example(b"", gif_of_one_pixel(2_000, 2_000))
@example(b"", webp_of_one_colour())
def test_any_bytes_are_a_picture_or_refused(pool: DecoderPool, magic: bytes, tail: bytes) -> None:
    check(pool, magic + tail)


@given(st.sampled_from(REAL), st.floats(0, 1))
def test_a_truncated_picture_is_a_picture_or_refused(pool: DecoderPool, data: bytes, kept: float) -> None:
    check(pool, data[: int(len(data) * kept)])


@given(
    st.sampled_from(REAL),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_flipped_picture_is_a_picture_or_refused(
    pool: DecoderPool, data: bytes, flips: list[tuple[float, int]]
) -> None:
    flipped = bytearray(data)
    for place, value in flips:
        # More often near the front, where the headers are.
        flipped[int(len(flipped) * place**3)] ^= value
    check(pool, bytes(flipped))


@given(st.sampled_from(REAL), st.sampled_from(REAL), st.floats(0, 1), st.floats(0, 1))
def test_two_pictures_cut_together_are_a_picture_or_refused(
    pool: DecoderPool, first: bytes, second: bytes, end: float, start: float
) -> None:
    check(pool, first[: int(len(first) * end)] + second[int(len(second) * start) :])


def test_every_real_picture_is_decoded(pool: DecoderPool) -> None:
    for data in REAL:
        assert pool.decode(data, None).shape[2] == 3
